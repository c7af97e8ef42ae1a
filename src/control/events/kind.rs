//! The table of kinds of events, which is also that of `docs/monitoring.md`.

/// Who gets the events of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every node records the same event.
    Cluster,
    /// The node that it happened to records it.
    Node,
    /// Hooks are run for it, but it is neither recorded nor logged.
    Hooks,
}

macro_rules! kinds {
    ($(#[doc = $meaning:literal] $kind:ident = $word:literal, $scope:ident;)+) => {
        /// Kinds of events.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $(#[doc = $meaning] $kind,)+
        }

        impl Kind {
            /// All kinds, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// Returns the word of the contract: `kind` in JSON, `BUOY_EVENT` in the journal and for
            /// hooks, a label of the metrics.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$kind => $word,)+
                }
            }

            /// Returns what happened, in one sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$kind => $meaning.trim(),)+
                }
            }

            /// Returns who gets events of this kind.
            #[must_use]
            pub const fn scope(self) -> Scope {
                match self {
                    $(Self::$kind => Scope::$scope,)+
                }
            }
        }
    };
}

// Words may be added, never changed: scripts and alerts know them.
kinds! {
    /// The verdict on a peer changed.
    PeerChanged = "peer_changed", Cluster;
    /// A peer has a new incarnation.
    PeerRestarted = "peer_restarted", Cluster;
    /// A voter has another list of voters and grants no leases.
    VotersDiffer = "voters_differ", Cluster;
    /// A peer is silent, but its kernel answers for its groups.
    KernelAnswers = "kernel_answers", Node;
    /// The outcome of the checks of a node for a pool changed.
    FitnessChanged = "fitness_changed", Cluster;
    /// A living peer does not list this node in its configuration, or lists it again.
    Unlisted = "unlisted", Node;
    /// A group has a new owner, or none.
    OwnerChanged = "owner_changed", Cluster;
    /// The kernel confirmed that this node answers for a group.
    Acquired = "acquired", Node;
    /// The kernel confirmed that this node no longer answers for a group.
    Released = "released", Node;
    /// This node gave way to an owner whose claim has the higher rank.
    GaveWay = "gave_way", Node;
    /// Another host claims a group that is held here.
    SecondClaimant = "second_claimant", Node;
    /// All neighbours that answer probes resolve the group to this node.
    Converged = "converged", Node;
    /// Some neighbours still resolve the group to another host.
    NotConverged = "not_converged", Node;
    /// An address is not served with its group because another node has it in another group.
    AddressWithheld = "address_withheld", Node;
    /// An address that was withheld is served.
    AddressAdmitted = "address_admitted", Node;
    /// This node cannot hold a group.
    Unable = "unable", Node;
    /// An address was removed, not by an order, and restored.
    Repaired = "repaired", Node;
    /// The preserved connections of a group that was handed over have ended.
    KeptEnded = "kept_ended", Node;
    /// A planned move failed.
    OfferFailed = "offer_failed", Node;
    /// The hooks of event `gate` have not ended in time.
    GateOverdue = "gate_overdue", Node;
    /// No node passes the checks of a pool.
    LastResort = "last_resort", Cluster;
    /// No majority of the voters grants this node its leases.
    MajorityLost = "majority_lost", Node;
    /// A majority of the voters has granted the leases again.
    MajorityBack = "majority_back", Node;
    /// The phase of this node changed.
    PhaseChanged = "phase_changed", Cluster;
    /// This node did not run for a while.
    Stalled = "stalled", Node;
    /// Draining of this node was switched on or off.
    Draining = "draining", Cluster;
    /// The daemon was restarted in place.
    WentOn = "went_on", Node;
    /// The daemon was not restarted in place although that is configured.
    NotInPlace = "not_in_place", Node;
    /// With profile `auto` other intervals are in force.
    TimingChanged = "timing_changed", Node;
    /// An order holds moves for balance and fail-back.
    Hold = "hold", Cluster;
    /// A hold has ended.
    HoldEnded = "hold_ended", Cluster;
    /// An order drains a node.
    DrainOrdered = "drain_ordered", Cluster;
    /// The order to drain a node has ended.
    DrainEnded = "drain_ended", Cluster;
    /// An upgrade of the cluster is under way.
    Upgrade = "upgrade", Cluster;
    /// The upgrade has ended.
    UpgradeEnded = "upgrade_ended", Cluster;
    /// An operator's order was accepted here.
    Ordered = "ordered", Node;
    /// The daemon started.
    Started = "started", Node;
    /// Events were lost: they came faster than they could be read.
    Overwritten = "overwritten", Node;
    /// A check of this node began to pass or to fail.
    CheckChanged = "check_changed", Node;
    /// A hook failed.
    HookFailed = "hook_failed", Node;
    /// A hook was not run.
    HooksDropped = "hooks_dropped", Node;
    /// HAProxy cannot be notified of a drain.
    BalancerFailed = "balancer_failed", Node;
    /// HAProxy can be notified of a drain again.
    BalancerBack = "balancer_back", Node;
    /// HAProxy was notified of a drain, or of its end.
    BalancerTold = "balancer_told", Node;
    /// A planned move of a group waits for the hooks of this event.
    Gate = "gate", Hooks;
    /// The addresses of a group are about to be added here.
    BeforeAcquire = "before_acquire", Hooks;
    /// The addresses of a group are about to be removed here.
    BeforeRelease = "before_release", Hooks;
    /// A planned move has taken a group from this node, and the next owner has it.
    HandedOver = "handed_over", Hooks;
    /// This node drains, owns nothing, and serves no connection of what it had.
    Drained = "drained", Hooks;
    /// Draining of this node was switched off.
    Undrained = "undrained", Hooks;
}

impl Kind {
    /// Returns the kind with this word; `None` for words of newer versions.
    #[must_use]
    pub fn with_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.word() == word)
    }
}
