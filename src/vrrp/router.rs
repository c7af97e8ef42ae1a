//! One virtual router of one family, as this node has it towards the hosts outside the cluster.
//!
//! ```text
//!   Listening --(one Active_Down_Interval)--> who else speaks of it?
//!       nobody ...................... the group may be had here; its owner advertises
//!       somebody, and he is weaker .. the same; he hears the owner and gives way
//!       somebody, and he prevails ... the group is left to him, until he is silent
//!       somebody, but otherwise ..... nothing is said until he is silent (see `difference`)
//! ```
//!
//! The cluster elects inside and is one router to the outside: advertisements of other members are
//! its own voice. Only the owner of the group speaks, after the group is here and announced; when it
//! changes its owner inside, nothing is said. What is kept of others is bounded by
//! [`SPEAKERS_MAX`], and none of it outlives their silence. Times are those of RFC 9568 6.1; what was
//! refused, or differs, never prolongs them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::advertisement::Heard;
use super::checksum::Form;
use super::difference::Difference;
use super::members::Hosts;
use super::refusal::{Refusal, Refusals};
use super::settings::Settings;
use crate::protocol::{HardwareAddress, Instant, Outside};

/// Routers outside that are kept apart for one virtual router. More than two are a mistake.
pub const SPEAKERS_MAX: usize = 8;
/// Notes in one `Active_Down_Interval`; senders outside can make more.
const NOTES_MAX: u8 = 8;
/// A weaker router that has gone on for so many of our intervals does not hear us.
const DEAF_AFTER: u32 = 4;

/// What this node has of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does not answer for it; another member may.
    Away,
    /// It answers for it and has announced that.
    Held,
    /// It answers for it until a router outside says that it does.
    Yielding,
}

/// Where an advertisement came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The source of the packet.
    pub source: IpAddr,
    /// Where it was sent to.
    pub destination: IpAddr,
    /// The source of the frame, if the link has such addresses.
    pub hardware: Option<HardwareAddress>,
    /// Whose it is.
    pub whose: Whose,
}

/// Who sent something, by its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This host, by the source of the packet.
    Own,
    /// Another member of the cluster.
    Member,
    /// A host outside.
    Outside,
}

/// One router outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// Its priority; 0 once it has said that it stops.
    pub priority: u8,
    /// The number of its version.
    pub version: u8,
    /// Where its frames come from.
    pub hardware: Option<HardwareAddress>,
    /// How what it says differs, if it does.
    pub difference: Option<Difference>,
    /// Since when it speaks, without a pause.
    pub since: Instant,
    /// When it spoke last.
    pub heard_at: Instant,
    /// When it counts as gone if it does not speak again.
    pub gone_at: Instant,
    deaf: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send an advertisement of this priority to the group's peers, or all.
    Send(u8),
    /// Announce the addresses again: somebody else has said that they are his.
    Announce,
    /// Worth telling people.
    Note(Note),
}

/// Something that people want to know; eight of them at most in an `Active_Down_Interval`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A router outside has begun to speak.
    Begun(IpAddr, u8),
    /// It speaks otherwise than the file says: nothing is said.
    Differs(IpAddr, Difference),
    /// It goes on although it should give way: it does not hear this node.
    Deaf(IpAddr),
    /// It is silent.
    Gone(IpAddr),
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Router {
    settings: Settings,
    form: Form,
    standing: Standing,
    /// The address that this node speaks from.
    source: Option<IpAddr>,
    /// Nothing is known before.
    listens_until: Instant,
    speakers: BTreeMap<IpAddr, Speaker>,
    /// The member that spoke last, and when its word ends.
    member: Option<(IpAddr, Instant)>,
    /// When to advertise next, while this node speaks.
    due: Option<Instant>,
    /// When a weaker router was last answered out of turn.
    answered_at: Option<Instant>,
    refusals: Refusals,
    sent: u64,
    /// When the time began in which notes are counted, and how many there were.
    noted: (Instant, u8),
}

impl Router {
    /// Starts to listen. A process that goes on with the work of one before (`resumes`) knows that
    /// nobody prevailed.
    #[must_use]
    pub fn new(now: Instant, settings: Settings, resumes: bool) -> Self {
        let listens = settings.down_interval(settings.interval);
        Self {
            form: settings.form,
            standing: Standing::Away,
            source: None,
            listens_until: if resumes { now } else { now + listens },
            speakers: BTreeMap::new(),
            member: None,
            due: None,
            answered_at: None,
            refusals: Refusals::default(),
            sent: 0,
            noted: (now, 0),
            settings,
        }
    }

    /// Returns the same router with settings that [hear alike](Settings::hears_alike): what is known
    /// of others stays. While this node speaks, others have given way to it and are silent: they do not
    /// prevail because of what they have said before. One that speaks all the same is heard again
    /// within an interval.
    #[must_use]
    pub(super) fn with(mut self, settings: Settings) -> Self {
        if self.due.is_some() {
            self.speakers.retain(|_, speaker| speaker.difference.is_some());
        }
        Self { settings, ..self }
    }

    /// Returns what it was made for.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the form of checksum in use.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// Returns the routers outside that speak.
    pub fn speakers(&self) -> impl Iterator<Item = (IpAddr, &Speaker)> {
        self.speakers.iter().map(|(source, speaker)| (*source, speaker))
    }

    /// Returns what was not taken in.
    #[must_use]
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Returns how many advertisements were asked to be sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns whether this node advertises.
    #[must_use]
    pub fn speaks(&self) -> bool {
        self.due.is_some()
    }

    /// Counts something of this router that could not be read.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.refusals.count(refusal);
    }

    /// Takes in the address that this node sends from, `None` while it has none.
    pub fn speak_from(&mut self, now: Instant, source: Option<IpAddr>) -> Vec<Step> {
        self.source = source;
        self.proceed(now)
    }

    /// Returns what routers outside have of the group.
    #[must_use]
    pub fn outside(&self, now: Instant) -> Outside {
        let of = |source: &IpAddr, speaker: &Speaker| match (&speaker.difference, speaker.hardware)
        {
            (Some(_), hardware) => Outside::Differs(hardware),
            (None, hardware) if self.prevails(*source, speaker, now) => Outside::Prevails(hardware),
            (None, hardware) => Outside::GivesWay(hardware),
        };
        // Whoever has said that it stops has the group no more, if it does not answer for it: that
        // is asked before the group is taken. To wait for the skew would only be longer.
        let stays = |(_, speaker): &(&IpAddr, &Speaker)| {
            speaker.priority > 0 || speaker.difference.is_some()
        };
        let worst = self.speakers.iter().filter(stays);
        let worst = worst.map(|(source, speaker)| of(source, speaker)).max();
        let listens = now < self.listens_until;
        let unknown = if listens { Outside::Unknown } else { Outside::Nobody };
        worst.map_or(unknown, |worst| worst.max(unknown))
    }

    /// Whether the cluster leaves the group to this router. While the cluster speaks, as it would for
    /// any router that is active (RFC 9568 6.4.3); else as for one that is backup (6.4.2).
    fn prevails(&self, source: IpAddr, speaker: &Speaker, now: Instant) -> bool {
        let ours = self.settings.priority;
        if self.standing == Standing::Yielding {
            return true;
        }
        match self.voice(now) {
            Some(voice) => speaker.priority > ours || speaker.priority == ours && source > voice,
            None => speaker.priority >= ours || !self.settings.preempt,
        }
    }

    /// The address that the cluster speaks from now.
    fn voice(&self, now: Instant) -> Option<IpAddr> {
        let member = self.member.filter(|(_, until)| now < *until).map(|(member, _)| member);
        if self.due.is_some() { self.source } else { member }
    }

    /// Takes in what this node has of the group. `outward` says whether a group that is not held any
    /// more goes to no other member: then whoever is next outside need not wait for silence.
    pub fn stand(&mut self, now: Instant, standing: Standing, outward: bool) -> Vec<Step> {
        let spoke = self.due.is_some();
        self.standing = standing;
        let mut steps = Vec::new();
        if standing != Standing::Held {
            self.due = None;
            if spoke && (outward || standing == Standing::Yielding) {
                steps.push(self.send(0));
            }
        }
        steps.extend(self.proceed(now));
        steps
    }

    /// Takes in an advertisement for this virtual router.
    pub fn hear(&mut self, now: Instant, heard: Heard, origin: Origin) -> Vec<Step> {
        let Heard { advertisement, form } = heard;
        // Who says that he speaks more often than this router is not believed gone sooner, so that
        // nobody can have the group go to and fro.
        let interval = advertisement.interval.max(self.settings.interval);
        let down = self.settings.down_interval(interval);
        match origin.whose {
            Whose::Own => {
                self.refuse(Refusal::OwnSource);
                return Vec::new();
            }
            Whose::Member => {
                let until = if advertisement.priority == 0 { now } else { now + down };
                self.member = Some((origin.source, until));
                return Vec::new();
            }
            Whose::Outside => {}
        }
        let to_peers = !self.settings.peers.is_empty() && !origin.destination.is_multicast();
        if to_peers && !self.settings.peers.contains(&origin.source) {
            self.refuse(Refusal::NotAPeer);
            return Vec::new();
        }
        let mut steps = self.proceed(now);
        let difference = Difference::between(&self.settings, &advertisement, origin.destination);
        let known = self.speakers.contains_key(&origin.source);
        if !known && self.speakers.len() >= SPEAKERS_MAX {
            self.refuse(Refusal::TooMany);
            return steps;
        }
        if !known && advertisement.priority == 0 && difference.is_none() {
            // Somebody stops whom nobody has heard: as if he had not been.
            steps.extend(self.answer(now));
            return steps;
        }
        if difference.is_none() {
            self.form = form;
        }
        let length = match (advertisement.priority, &difference) {
            (0, _) => self.settings.skew(interval),
            (_, _) => down,
        };
        let speaker = self.speakers.entry(origin.source).or_insert_with(|| Speaker {
            priority: advertisement.priority,
            version: advertisement.version.number(),
            hardware: origin.hardware,
            difference: None,
            since: now,
            heard_at: now,
            gone_at: now,
            deaf: false,
        });
        if known && difference.is_some() && speaker.difference.is_none() {
            // It speaks both ways: what differs prolongs nothing, and the difference counts.
            speaker.gone_at = speaker.gone_at.min(now + length);
        } else {
            speaker.gone_at = now + length;
        }
        (speaker.priority, speaker.version) =
            (advertisement.priority, advertisement.version.number());
        (speaker.hardware, speaker.heard_at) = (origin.hardware, now);
        let changed = !known || speaker.difference != difference;
        speaker.difference.clone_from(&difference);
        if changed {
            let note = match difference {
                None => Note::Begun(origin.source, advertisement.priority),
                Some(difference) => Note::Differs(origin.source, difference),
            };
            steps.extend(self.note(now, note));
        }
        steps.extend(self.answer_weaker(now, origin.source));
        steps.extend(self.proceed(now));
        steps
    }

    /// Answers a router that should give way, at once but once in an interval (RFC 9568 6.4.3).
    fn answer_weaker(&mut self, now: Instant, source: IpAddr) -> Vec<Step> {
        let outside = self.outside(now);
        if !matches!(outside, Outside::GivesWay(_)) {
            return Vec::new();
        }
        let mut steps = self.answer(now);
        let patience = self.settings.interval * DEAF_AFTER;
        let spoken = self.due.is_some();
        if let Some(speaker) = self.speakers.get_mut(&source)
            && spoken
            && !speaker.deaf
            && speaker.priority > 0
            && now.since(speaker.since) > patience
        {
            speaker.deaf = true;
            steps.extend(self.note(now, Note::Deaf(source)));
        }
        steps
    }

    fn answer(&mut self, now: Instant) -> Vec<Step> {
        let interval = self.settings.interval;
        let lately = self.answered_at.is_some_and(|at| now.since(at) < interval);
        if self.due.is_none() || lately {
            return Vec::new();
        }
        self.answered_at = Some(now);
        self.due = Some(now + interval);
        vec![self.send(self.settings.priority), Step::Announce]
    }

    /// Does what time or a change has made due: forgets who is silent, begins to speak or stops.
    pub fn proceed(&mut self, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        let gone = self.speakers.iter().filter(|(_, speaker)| now >= speaker.gone_at);
        let gone: Vec<IpAddr> = gone.map(|(source, _)| *source).collect();
        for source in gone {
            self.speakers.remove(&source);
            steps.extend(self.note(now, Note::Gone(source)));
        }
        let may = match self.outside(now) {
            Outside::Nobody | Outside::GivesWay(_) => true,
            Outside::Unknown | Outside::Differs(_) | Outside::Prevails(_) => false,
        };
        if !may || self.standing != Standing::Held || self.source.is_none() {
            self.due = None;
            return steps;
        }
        let due = self.due.unwrap_or(now);
        self.due = Some(due);
        if now >= due {
            steps.push(self.send(self.settings.priority));
            if !self.speakers.is_empty() {
                // Which answers them all.
                self.answered_at = Some(now);
            }
            let next = due + self.settings.interval;
            // After a pause of this process the rhythm begins again.
            self.due = Some(if next > now { next } else { now + self.settings.interval });
        }
        steps
    }

    fn note(&mut self, now: Instant, note: Note) -> Option<Step> {
        let (since, count) = &mut self.noted;
        if now.since(*since) >= self.settings.down_interval(self.settings.interval) {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        (*count <= NOTES_MAX).then_some(Step::Note(note))
    }

    fn send(&mut self, priority: u8) -> Step {
        self.sent += 1;
        Step::Send(priority)
    }

    /// Returns when [`Router::proceed`] has something to do.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Instant {
        let gone = self.speakers.values().map(|speaker| speaker.gone_at).chain(self.due);
        let member = self.member.map(|(_, until)| until);
        let ahead = member.into_iter().chain([self.listens_until]).filter(|at| *at > now);
        gone.chain(ahead).min().unwrap_or(Instant::NEVER)
    }

    /// Forgets a router that has turned out to be a member.
    pub(super) fn forget(&mut self, members: &Hosts) {
        self.speakers.retain(|source, speaker| !members.has(*source, speaker.hardware));
    }

    /// Returns for how long this node still listens before it knows anything.
    #[must_use]
    pub fn listens_for(&self, now: Instant) -> Duration {
        self.listens_until.since(now)
    }
}
