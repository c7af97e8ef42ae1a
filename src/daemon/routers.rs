//! The thread of the virtual routers: advertisements in and out, and what the protocol is told.
//!
//! ```text
//!   protocol thread --(voice, members, configuration)--> this thread --(Outside)--> inbox
//!   kernel thread --(seats, when asked)----------------->     |
//!   links <-------------------- packets -------------------->  |
//! ```
//!
//! A thread of its own, because advertisements have to go out in time although the kernel thread adds
//! thousands of addresses, and because heartbeats wait for nothing here. It decides nothing: that is
//! done by `vrrp` for what is said, and by the protocol for what is held. Without a virtual router in
//! the file it has no sockets and sleeps. It may be given up at any point: what was announced to the
//! outside is then silence, as after the death of the host.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use nix::net::if_::if_indextoname;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::clock;
use super::inbox::Mailbox;
use super::will::LastWord;
use crate::control::duration_text::millis;
use crate::control::response::{OutsideRouter, OverheardRouter, VirtualRouter};
use crate::kernel::{PACKET_MAX, RouterDesk, RouterSeat, RouterSockets};
use crate::protocol::{Event, GroupKey, Instant, Voice};
use crate::vrrp::{Action, Family, Members, Note, Router, Routers, Seat, Settings, Standing};

/// Between two questions to the kernel thread where groups are.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// No deadline of a router is further away than that.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Packets that the guardian sends for a dead process; hosts that are not told notice by silence.
const LAST_WORDS_MAX: usize = 256;
/// Virtual routers of others are shown for so long; they advertise every 255 s at least.
const OVERHEARD_FOR: Duration = Duration::from_secs(600);

/// With memory locked, a small stack is a small bill.
const STACK: usize = 256 * 1024;

/// What the thread is told.
#[derive(Debug)]
pub(crate) enum Word {
    /// The groups that are virtual routers, each with its name, are these from now on.
    Configure(BTreeMap<GroupKey, (String, Vec<Settings>)>),
    /// The other members are these.
    Members(Members),
    /// What this node is to the outside for a group.
    Voice(GroupKey, Voice),
    /// Somebody wants to see what is known.
    Look(oneshot::Sender<Picture>),
}

/// The virtual routers of this node, and those that others advertise on its links.
pub(crate) type Picture = (Vec<VirtualRouter>, Vec<OverheardRouter>);

/// The ends that others have.
#[derive(Clone, Debug)]
pub(crate) struct RouterThread(mpsc::UnboundedSender<Word>);

impl RouterThread {
    /// Starts it, with nothing to do. `resumed` are groups that the process before held.
    /// Gives what the guardian is to say to routers outside when this process has died; the last counts.
    pub(crate) fn spawn(
        kernel: RouterDesk,
        mailbox: Mailbox,
        resumed: BTreeSet<GroupKey>,
    ) -> io::Result<(Self, Receiver<Vec<LastWord>>)> {
        let (leave, left) = channel();
        // The protocol thread tells changes only.
        let (sender, words) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut shell = Shell {
            kernel,
            mailbox,
            routers: Routers::default(),
            names: BTreeMap::new(),
            resumed,
            sockets: None,
            complained: false,
            leave,
            alone: Vec::new(),
        };
        let body = move || runtime.block_on(shell.run(words));
        thread::Builder::new().name("vrrp".to_owned()).stack_size(STACK).spawn(body)?;
        Ok((Self(sender), left))
    }

    /// An end whose thread does not exist, for tests.
    #[cfg(test)]
    pub(crate) fn nobody() -> Self {
        Self(mpsc::unbounded_channel().0)
    }

    /// Asks what is known; without an answer within `within`, nothing.
    pub(crate) async fn look(self, within: Duration) -> Picture {
        let (answer, picture) = oneshot::channel();
        self.tell(Word::Look(answer));
        match tokio::time::timeout(within, picture).await {
            Ok(Ok(picture)) => picture,
            Ok(Err(_)) | Err(_) => Picture::default(),
        }
    }

    /// Tells it something; returns at once.
    pub(crate) fn tell(&self, word: Word) {
        // If the thread has ended, so has the daemon.
        drop(self.0.send(word));
    }
}

struct Shell {
    kernel: RouterDesk,
    mailbox: Mailbox,
    routers: Routers,
    names: BTreeMap<GroupKey, String>,
    resumed: BTreeSet<GroupKey>,
    sockets: Option<RouterSockets>,
    /// That something could not be sent or opened has been told, and not been done since.
    complained: bool,
    /// To the guardian.
    leave: Sender<Vec<LastWord>>,
    /// What it was told of.
    alone: Vec<(GroupKey, Family)>,
}

impl Shell {
    async fn run(&mut self, mut words: mpsc::UnboundedReceiver<Word>) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = [0; PACKET_MAX];
        loop {
            let now = clock::now();
            let rest = self.routers.deadline(now).since(now).min(SLEEP_MAX);
            let watches = !self.names.is_empty();
            let received = async {
                match &mut self.sockets {
                    Some(sockets) => sockets.next(&mut buffer).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                word = words.recv() => {
                    let Some(word) = word else { return };
                    self.hear(word).await;
                }
                () = sleep(rest) => {}
                packet = received => {
                    let bytes = buffer.get(..packet.length).unwrap_or_default();
                    let now = clock::now();
                    let actions = self.routers.receive(now, packet.link, packet.hardware, bytes);
                    self.act(actions);
                }
                _ = look.tick(), if watches => self.look().await,
            }
            let actions = self.routers.proceed(clock::now());
            self.act(actions);
            self.leave_words(false);
        }
    }

    /// Leaves what is to be said if this process dies, if that is something else now.
    fn leave_words(&mut self, again: bool) {
        let alone: Vec<(GroupKey, Family)> = self.routers.alone().take(LAST_WORDS_MAX).collect();
        if alone == self.alone && !again {
            return;
        }
        let word = |action: Action| match action {
            Action::Send { link, source, destination, payload } => {
                Some(LastWord::new(link, (source, destination), &payload))
            }
            Action::Announce(_) | Action::Tell(..) | Action::Forget(_) | Action::Note(..) => None,
        };
        let words = self.routers.last_words(&alone).into_iter().filter_map(word);
        // Refused where no guardian is looked after.
        drop(self.leave.send(words.take(LAST_WORDS_MAX).collect()));
        self.alone = alone;
    }

    async fn hear(&mut self, word: Word) {
        let now = clock::now();
        match word {
            Word::Configure(wanted) => self.configure(now, wanted).await,
            Word::Members(members) => {
                let actions = self.routers.know_members(now, members);
                self.act(actions);
            }
            Word::Voice(group, voice) => {
                let standing = match voice {
                    Voice::Silent => Standing::Away,
                    Voice::Speaks => Standing::Held,
                    Voice::Yields => Standing::Yielding,
                };
                let actions = self.routers.stand(now, group, standing);
                self.act(actions);
            }
            // Whoever asked may be gone.
            Word::Look(answer) => drop(answer.send(self.picture(now))),
        }
    }

    async fn configure(
        &mut self,
        now: Instant,
        wanted: BTreeMap<GroupKey, (String, Vec<Settings>)>,
    ) {
        self.names = wanted.iter().map(|(group, (name, _))| (*group, name.clone())).collect();
        if wanted.is_empty() {
            self.sockets = None;
        } else if self.sockets.is_none() {
            match RouterSockets::open() {
                Ok(sockets) => self.sockets = Some(sockets),
                Err(error) => self.complain(&error, "virtual routers cannot receive"),
            }
        }
        let wanted = wanted.into_iter().map(|(group, (_, settings))| (group, settings)).collect();
        let resumed = std::mem::take(&mut self.resumed);
        let actions = self.routers.configure(now, wanted, &resumed);
        self.act(actions);
        self.look().await;
        self.leave_words(true);
    }

    /// Follows the groups to where they are.
    async fn look(&mut self) {
        if self.names.is_empty() {
            return;
        }
        let asked = self.kernel.seats(self.names.keys().copied().collect());
        // The kernel thread may be busy; what is known stays.
        let Ok(Ok(seats)) = tokio::time::timeout(LOOK_EVERY / 4, asked).await else { return };
        let now = clock::now();
        let mut links = BTreeSet::new();
        for (group, (v4, v6)) in seats {
            for (family, seat) in [(Family::V4, v4), (Family::V6, v6)] {
                let known = self.routers.each().any(|(of, it, ..)| (of, it) == (group, family));
                let Some(seat) = seat.filter(|_| known) else { continue };
                links.insert((family == Family::V4, seat.link));
                let seat = self.seat(group, family, seat);
                let actions = self.routers.seat(now, group, family, Some(seat));
                self.act(actions);
            }
        }
        let failed = self.sockets.as_mut().map(|it| it.follow(&links)).unwrap_or_default();
        for (_, error) in failed {
            self.complain(&error, "a multicast group of VRRP cannot be joined");
        }
    }

    fn seat(&self, group: GroupKey, family: Family, seat: RouterSeat) -> Seat {
        let mut routers = self.routers.each();
        let told_apart = routers.any(|(of, it, router, _)| {
            (of, it) == (group, family) && !router.settings().peers.is_empty()
        });
        let source = if told_apart { seat.wide.or(seat.source) } else { seat.source };
        Seat { link: seat.link, source }
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send { link, source, destination, payload } => {
                    let Some(sockets) = &self.sockets else { continue };
                    match sockets.send(link, source, destination, &payload) {
                        Ok(()) => self.complained = false,
                        Err(error) => self.complain(&error, "an advertisement was not sent"),
                    }
                }
                Action::Announce(group) => self.kernel.announce(group),
                Action::Tell(group, outside) => {
                    let outside = Some(outside);
                    self.mailbox.deliver(Event::Outside { group, outside });
                }
                Action::Forget(group) => {
                    let event = Event::Outside { group, outside: None };
                    self.mailbox.deliver(event);
                }
                Action::Note(group, family, note) => self.note(group, family, &note),
            }
        }
    }

    /// Told once until something works again.
    fn complain(&mut self, error: &io::Error, what: &str) {
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(%error, "{what}");
        }
    }

    /// Bounded by `vrrp`: some lines for each speaker in the time after which it is gone.
    fn note(&self, group: GroupKey, family: Family, note: &Note) {
        let mut routers = self.routers.each();
        let router = routers.find(|(of, it, ..)| (*of, *it) == (group, family));
        let vrid = router.map(|(_, _, router, _)| router.settings().id);
        let group = self.names.get(&group).map_or("?", String::as_str);
        match note {
            Note::Begun(source, priority) => {
                tracing::info!(group, vrid, %source, priority, "a router outside the cluster advertises");
            }
            Note::Differs(source, difference) => tracing::warn!(
                group,
                vrid,
                %source,
                "a router outside the cluster advertises {difference}; buoy sends nothing until \
                 it is silent"
            ),
            Note::Deaf(source) => tracing::warn!(
                group,
                vrid,
                %source,
                "a router outside the cluster with lower priority keeps advertising: it does not \
                 receive from this node"
            ),
            Note::Gone(source) => {
                tracing::info!(group, vrid, %source, "a router outside the cluster is silent");
            }
        }
    }

    fn picture(&self, now: Instant) -> Picture {
        let each = self.routers.each();
        let ours = each.map(|(group, family, router, _)| self.pictured(now, group, family, router));
        let heard = self.routers.overheard().iter();
        let recent = heard.filter(|(_, heard)| now.since(heard.heard_at) < OVERHEARD_FOR);
        let theirs = recent.map(|((link, family, id), heard)| OverheardRouter {
            interface: if_indextoname(*link)
                .map_or_else(|_| link.to_string(), |name| name.to_string_lossy().into_owned()),
            family: name_of(*family),
            id: *id,
            version: heard.version,
            priority: heard.priority,
            source: heard.source,
            age_ms: millis(now.since(heard.heard_at)),
        });
        (ours.collect(), theirs.collect())
    }

    fn pictured(
        &self,
        now: Instant,
        group: GroupKey,
        family: Family,
        router: &Router,
    ) -> VirtualRouter {
        let settings = router.settings();
        let outside = router.speakers().map(|(source, speaker)| OutsideRouter {
            source,
            priority: speaker.priority,
            version: speaker.version,
            age_ms: millis(now.since(speaker.heard_at)),
            difference: speaker.difference.as_ref().map(ToString::to_string),
        });
        let state = if router.speaks() {
            "speaking"
        } else if router.listens_for(now).is_zero() {
            "silent"
        } else {
            "listening"
        };
        let refused = router.refusals().counts();
        VirtualRouter {
            group: self.names.get(&group).cloned().unwrap_or_default(),
            family: name_of(family),
            id: settings.id,
            version: settings.version.number(),
            priority: settings.priority,
            state: state.to_owned(),
            sent: router.sent(),
            refused: refused.map(|(why, count)| (why.name().to_owned(), count)).collect(),
            outside: outside.collect(),
        }
    }
}

fn name_of(family: Family) -> String {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
    .to_owned()
}
