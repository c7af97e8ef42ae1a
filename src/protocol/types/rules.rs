//! The rules of the protocol by name, so that a test can break one and see that it is missed.
//!
//! In a release every rule holds by constant. Under the feature `mutations`, which only this
//! crate's own tests turn on, `Configuration::broken` names one rule that does not. PROTOCOL.md
//! tells what each rule is for; `tests/simulation` shows what happens without it.

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A rule that a test can break.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule { $($(#[$doc])* $name,)* }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

rules! {
    /// A peer silent here but heard by another live peer is not dead.
    Corroboration,
    /// A peer about to be called dead, and all who may hear it, are asked first.
    Solicitation,
    /// After an own stall every peer gets a full detection time again.
    StallCredit,
    /// After a long stall a node verifies its claims before it announces or takes.
    VerifyAfterStall,
    /// A jump of the clocks of all peers is an own stall that no own clock has seen.
    ClockJump,
    /// A jump of one peer's clock is enough for this node not to think its side the larger one.
    JumpEndsSupport,
    /// A node that loses all its peers at once first shows that its own network works.
    SelfTest,
    /// The groups of a node that says it is isolated are free to take.
    IsolatedIsGone,
    /// A node that no peer hears takes nothing.
    MuteTakesNothing,
    /// A node that senses others and that nobody hears does not think itself alone.
    SensedIsThere,
    /// What comes from a life that is not proved is no heartbeat.
    SensedProvesNothing,
    /// A peer is sent only what it tells that it can read.
    FeaturesAsked,
    /// Who is heard under the cluster's key counts, listed in the own file or not.
    UnlistedCounts,
    /// A node that a living peer does not list in its file hands everything over.
    UnlistedDrains,
    /// But for what no other node can have.
    UnlistedServes,
    /// A claim of a former life of its owner holds nothing.
    IncarnationChecked,
    /// A holder that hears of a later claim gives way, unless it wins by support.
    GiveWay,
    /// After a split the side with more nodes keeps what it has.
    Support,
    /// The support that decides a conflict rises only some time after the split has healed.
    SupportHeld,
    /// The old owner's kernel has let go before the new owner is told to take.
    BreakBeforeMake,
    /// A group under way to its receiver counts as the receiver's.
    MovingIsOwned,
    /// A promised group that the receiver does not take is taken back.
    TakeBack,
    /// When the first in line does not take, the next does.
    RankFallback,
    /// The first in line is the heir named by the owner, then a common order.
    CommonOrder,
    /// A starting node listens before it takes.
    Maturity,
    /// A node that hears nobody at its start waits for evidence that its link works.
    SoloWait,
    /// A node that hears nobody listens again when a link comes back.
    ListenAfterLink,
    /// A flapping node is offered nothing.
    Damping,
    /// A node falls too when it cannot hold what it could.
    InabilityIsFall,
    /// What a kernel side that hangs does not add is given up.
    KernelPatience,
    /// A node that begins to hear a peer waits for its claims before it takes.
    ClaimsBeforeTaking,
    /// An owner that is known by its claim alone has a detection time to be heard.
    ClaimedMayLive,
    /// A holder goes on with a group that another node has claimed and frees, and who could take
    /// it waits for the holder to say so.
    HolderGoesOn,
    /// A repeat of an order is not carried out again.
    ErrandsOnce,
    /// Claims of a node that a peer does not hear are relayed to it.
    Relay,
    /// Unacknowledged claims are sent again.
    Retransmission,
    /// Only what the kernel has confirmed is announced.
    AnnounceConfirmed,
    /// First announcements are repeated.
    AnnounceRepeats,
    /// Held addresses are announced again from time to time.
    AnnounceRefresh,
    /// Everything held is announced again when a lost peer is back and its claims are known.
    AnnounceAfterSplit,
    /// Announcements are paced.
    AnnouncePacing,
    /// What is announced first is verified, and neighbours that do not follow are told directly.
    VerifyFollowing,
    /// Owners tell each other which hosts they have to do with.
    ShareNeighbours,
    /// Owners tell their heirs which connections they have.
    ShareConnections,
    /// A group rests while its former owner keeps connections to it.
    OneKeeper,
    /// Kept connections end when a third node has the group.
    KeptForReceiver,
    /// A group that this node gives way for is not answered any more, however late its kernel is
    /// with the removal.
    WithdrawAtOnce,
    /// What the guardian or the end of a lifetime removed does not count as somebody's doing.
    OwnRemovalsExcused,
    /// A put-back address is announced again.
    AnnounceRepaired,
    /// A group whose link is down is let go.
    LinkDownReleases,
    /// A group whose network the host has lost is let go if others were heard lately.
    LostNetworkReleases,
    /// A group whose network the host has lost is kept while no other node is better off.
    LostNetworkKept,
    /// A path on which no peer is heard, while peers are heard on another, is doubted.
    SilentPathDoubted,
    /// A path on which no peer hears this node, while it hears them there, is doubted.
    UnheardPathDoubted,
    /// A node that failed to hold a group does not try again for a while.
    InabilityBackoff,
    /// A receiver declines what would put it above its share.
    ReceiverChecksBalance,
    /// A group moves away from an owner whose checks fail while those of another pass.
    ChecksMove,
    /// Nodes whose checks fail stand behind the others in the line.
    FitterFirst,
    /// Nodes whose checks fail are no heirs, and are given nothing that a fitter node could have.
    UnfitGetsNothing,
    /// A node whose checks flap is offered nothing that can wait.
    FlappingChecks,
    /// A node without a label that a pool requires says that it is not fit for the pool.
    RequiredLabels,
    /// Groups of pools that are kept apart are on one node only if no other node can have them.
    KeptApart,
    /// Groups of pools that are kept together are on one node.
    KeptTogether,
    /// What is where a rule of placement does not want it goes when it can be elsewhere.
    PlacementRestored,
    /// What nobody is fit for is kept or let go, as configured.
    LastResort,
    /// What nodes tell of their load does not follow noise.
    LoadDamped,
    /// A busy node gives to one that is less busy, if it stays so.
    LoadCounts,
    /// A group that has changed its owner in the last minute is not moved for its load.
    LoadRests,
    /// Nodes that are not to own a group keep their place in the line.
    RefusedKeepPlace,
    /// Owners spread their heirs by load.
    HeirsSpread,
    /// A planned move waits for what is to be done first.
    GateHolds,
    /// What is to be done first holds a planned move no longer than it may take.
    GateEnds,
    /// A draining node takes nothing.
    DrainingTakesNothing,
    /// A group in mode majority is added to the kernel when there is a lease for it, not before.
    LeaseFirst,
    /// A lease counts from when it was asked for.
    LeaseFromAsking,
    /// A grant counts only for what the voter knew to be wanted.
    LeaseFloor,
    /// A voter that has just started promises nothing for as long as its old promises may run.
    BootSilence,
    /// What a voter had promised when it stopped in good order it keeps when it starts again.
    PromisesKept,
    /// A record of promises is removed before anything is granted by the process that reads it.
    PromisesReadOnce,
    /// A lease that one process leaves to the next ends when it would have ended.
    LeaseEndsAsGranted,
    /// A voter's promise outlasts the lease by what clocks may drift apart.
    DriftMargin,
    /// A promise is as long as the lease that is asked for, whatever the voter's own would be, and a
    /// lease no longer than what it was promised for.
    LeaseStated,
    /// The kernel is given less than what is left of a lease: its timers may be slewed.
    SlewMargin,
    /// At a reload leases are wanted for what is held in this mode, and for nothing else.
    WishesAligned,
    /// All that is refused is named, in as many answers as it takes.
    RefusedNamed,
    /// A promise is not renewed for who does not hear the answers.
    HeardByHolder,
    /// Whom nothing has been promised for a while is promised at once what no other node waits for.
    IdleIsFirst,
    /// A voter votes under another list only when a majority of each former one has changed to it.
    ListsSettled,
    /// Whoever has the lease does not give way to a later claim.
    LeaseInsists,
    /// A node without a majority of the voters does not claim groups in mode majority.
    MajorityToTake,
    /// A node counts as lost to it the voters that go by another list of voters.
    VotersAgree,
    /// A silent peer is not dead while its kernel answers.
    SilentKernel,
    /// That holds however many other peers do not hear it either.
    KernelOutweighsPeers,
    /// A silent kernel is asked at its hardware addresses, and what it answers there counts alone.
    AskedDirectly,
    /// What a kernel answers while its lease may run counts little longer than that lease.
    AnswersUnderLease,
    /// A group for which a kernel does not answer, while it does for others, is not there.
    GroupsAskedApart,
    /// Before a group is taken, but by hand-over, the network is asked who answers for it.
    LookBeforeTake,
    /// A group for which a conflicting host answers is not taken.
    ConflictNotDisplaced,
    /// A conflicting host that comes again soon after a defence is answered to each known client alone.
    DirectedDefence,
    /// A group that a conflicting host claims too is announced again.
    Defence,
    /// Each address of a group is claimed by itself: files may have it in different groups.
    AddressesClaimed,
    /// In mode majority each address of a group needs a lease.
    AddressesLeased,
    /// An address is given away when the kernel has it with none of the groups that a reload has
    /// taken it from or put it into.
    GoneEverywhere,
    /// While an operator holds, nothing moves for balance or as fail-back.
    HoldStands,
    /// With profile `auto`, a node that is late, or hears a peer late, proposes a slower timing.
    LatenessCounts,
    /// With profile `auto`, the slowest proposal of those that live is in force.
    SlowestTimingCounts,
    /// With profile `auto`, what is faster waits for minutes of calm in which nothing is suspected.
    TimingTightensSlowly,
    /// With profile `auto`, a node that was late for as long as peers wait, or heard one so late,
    /// proposes nothing faster than `lan` for days.
    WorstLatenessKept,
    /// With profile `auto`, a lateness that `lan` would not have borne either makes nothing slower than
    /// `lan` until it happens again.
    FirstOutageExcused,
    /// Who has become slower beats as before until peers know.
    FormerHeartbeats,
    /// A group that a router outside has, or may have, is left to it (VRRP).
    RouterPrevails,
    /// A group is taken from a router outside that is to give way, although it answers.
    RouterGivesWay,
    /// A claim of a virtual router is defended only when an advertisement would have come.
    AdvertisementAwaited,
    /// A node that leaves, and has no other to hand over to, answers until a router outside does.
    YieldsFirst,
}
