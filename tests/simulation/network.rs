//! The network between hosts and clients: what is cut, what is lost, how long the rest takes.
//!
//! A datagram is sent on every path at once and arrives when the first copy does, as the replay
//! window of the wire takes care of the other copies. Path 0 shares its cable with the data plane;
//! path 1, if there is one, has a cable of its own. Faults are counted, not set, so that two
//! faults which overlap do not end each other.
//!
//! | fault | heartbeats, path 0 | heartbeats, path 1 | clients |
//! |---|---|---|---|
//! | one-way cut, heartbeat cut | cut | cut | not concerned |
//! | link down | cut | lives | cut |
//! | deaf, mute | cut one way | cut one way | cut one way |
//! | data link deaf, mute | cut one way | lives | cut one way |
//! | partition | cut | cut | cut, by side |

use crate::draw::{Draw, MICROSECOND, MILLISECOND};

/// How well the network carries what is not cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    /// Datagrams lost, each by itself, in millionths.
    pub(crate) loss: u32,
    /// Datagrams lost while a link is in its bad state (Gilbert-Elliott), in millionths.
    pub(crate) burst_loss: u32,
    /// Mean time that a link stays bad; good times are 20 times as long. 0 switches bursts off.
    pub(crate) burst_length: u64,
    /// Least time on the way.
    pub(crate) delay: u64,
    /// Added at random.
    pub(crate) jitter: u64,
    /// Datagrams that take far longer, in millionths; they overtake nobody, others overtake them.
    pub(crate) late: u32,
    /// How late those are at most.
    pub(crate) late_most: u64,
    /// Datagrams that arrive twice, in millionths.
    pub(crate) duplicate: u32,
    /// Announcements that clients miss, in millionths.
    pub(crate) announcement_loss: u32,
}

impl Weather {
    /// An undisturbed local network.
    pub(crate) fn fair() -> Self {
        Self { delay: 50 * MICROSECOND, jitter: 150 * MICROSECOND, ..Self::default() }
    }

    /// Whether no protocol may take this network as an excuse.
    pub(crate) fn is_tame(&self) -> bool {
        self.loss <= 20_000
            && self.burst_length == 0
            && (self.late == 0 || self.late_most <= 20 * MILLISECOND)
    }

    /// The longest that a datagram may take.
    pub(crate) fn delay_most(&self) -> u64 {
        self.delay + self.jitter + if self.late > 0 { self.late_most } else { 0 }
    }
}

/// State of the network. Ends are hosts first, clients behind them.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    hosts: usize,
    paths: usize,
    /// Set by the options of the run, and changed by faults.
    pub(crate) weather: Weather,
    cut: Vec<u32>,
    deaf: Vec<u32>,
    mute: Vec<u32>,
    /// The data link carries nothing to the host, and nothing from it.
    data_deaf: Vec<u32>,
    data_mute: Vec<u32>,
    link_down: Vec<u32>,
    side: Vec<u8>,
    burst: Vec<Burst>,
    /// By link: how much longer everything takes now.
    detour: Vec<u64>,
}

#[derive(Clone, Debug, Default)]
struct Burst {
    bad: bool,
    until: u64,
}

impl Network {
    /// A whole network of so many hosts and clients.
    pub(crate) fn new(hosts: usize, clients: usize, paths: usize, weather: Weather) -> Self {
        let links = hosts * hosts;
        Self {
            hosts,
            paths,
            weather,
            cut: vec![0; links],
            deaf: vec![0; hosts],
            mute: vec![0; hosts],
            data_deaf: vec![0; hosts],
            data_mute: vec![0; hosts],
            link_down: vec![0; hosts],
            side: vec![0; hosts + clients],
            burst: vec![Burst::default(); links],
            detour: vec![0; links],
        }
    }

    /// From now on everything from one host to another takes so much longer.
    pub(crate) fn detour(&mut self, from: usize, to: usize, length: u64) {
        self.detour[from * self.hosts + to] = length;
    }

    /// Cuts heartbeats one way.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cut[from * self.hosts + to] += 1;
    }

    /// Ends one such cut.
    pub(crate) fn join(&mut self, from: usize, to: usize) {
        lower(&mut self.cut[from * self.hosts + to]);
    }

    /// The host receives nothing from now on.
    pub(crate) fn deafen(&mut self, host: usize) {
        self.deaf[host] += 1;
    }

    /// Whether the host receives nothing.
    pub(crate) fn is_deaf(&self, host: usize) -> bool {
        self.deaf[host] > 0
    }

    /// Ends one deafness.
    pub(crate) fn undeafen(&mut self, host: usize) {
        lower(&mut self.deaf[host]);
    }

    /// The host can send nothing from now on.
    pub(crate) fn mute(&mut self, host: usize) {
        self.mute[host] += 1;
    }

    /// Ends one muteness.
    pub(crate) fn unmute(&mut self, host: usize) {
        lower(&mut self.mute[host]);
    }

    /// The data link carries nothing from the host any more, or nothing to it.
    pub(crate) fn cut_data(&mut self, host: usize, sends: bool) {
        let cuts = if sends { &mut self.data_mute } else { &mut self.data_deaf };
        cuts[host] += 1;
    }

    /// Ends one such cut.
    pub(crate) fn join_data(&mut self, host: usize, sends: bool) {
        let cuts = if sends { &mut self.data_mute } else { &mut self.data_deaf };
        lower(&mut cuts[host]);
    }

    /// Pulls the data cable of a host.
    pub(crate) fn link_down(&mut self, host: usize) {
        self.link_down[host] += 1;
    }

    /// Puts it back.
    pub(crate) fn link_up(&mut self, host: usize) {
        lower(&mut self.link_down[host]);
    }

    /// Whether the data cable has carrier.
    pub(crate) fn has_link(&self, host: usize) -> bool {
        self.link_down[host] == 0
    }

    /// Moves an end to a side of the partition; clients are counted behind the hosts.
    pub(crate) fn set_side(&mut self, end: usize, side: u8) {
        self.side[end] = side;
    }

    /// Ends the partition.
    pub(crate) fn unite(&mut self) {
        self.side.fill(0);
    }

    /// Ends everything: no cut is left.
    pub(crate) fn heal(&mut self) {
        let whole = [&mut self.cut, &mut self.deaf, &mut self.mute, &mut self.link_down];
        let data = [&mut self.data_deaf, &mut self.data_mute];
        whole.into_iter().chain(data).for_each(|counts| counts.fill(0));
        self.detour.fill(0);
        self.unite();
    }

    /// Whether a heartbeat could get through, loss aside.
    pub(crate) fn connects(&self, from: usize, to: usize) -> bool {
        (0..self.paths).any(|path| self.path_connects(path, from, to))
    }

    fn path_connects(&self, path: usize, from: usize, to: usize) -> bool {
        let link = from * self.hosts + to;
        self.cut[link] == 0
            && self.mute[from] == 0
            && self.deaf[to] == 0
            && self.side[from] == self.side[to]
            && (path > 0 || self.data_connects(from, to))
    }

    fn data_connects(&self, from: usize, to: usize) -> bool {
        self.has_link(from)
            && self.has_link(to)
            && self.data_mute[from] == 0
            && self.data_deaf[to] == 0
    }

    /// Whether frames of the host reach the client.
    pub(crate) fn reaches_client(&self, host: usize, client: usize) -> bool {
        self.has_link(host)
            && self.mute[host] == 0
            && self.data_mute[host] == 0
            && self.side[host] == self.side[self.hosts + client]
    }

    /// Whether host and client reach each other.
    pub(crate) fn talks_to_client(&self, host: usize, client: usize) -> bool {
        self.reaches_client(host, client) && self.deaf[host] == 0 && self.data_deaf[host] == 0
    }

    /// Whether frames of one host reach another.
    pub(crate) fn passes_frame(&self, from: usize, to: usize) -> bool {
        self.data_connects(from, to)
            && self.mute[from] == 0
            && self.deaf[to] == 0
            && self.side[from] == self.side[to]
    }

    /// Whether a host and those outside the cluster reach each other.
    pub(crate) fn meets_conflict(&self, host: usize) -> bool {
        self.has_link(host)
            && [&self.mute, &self.deaf, &self.data_mute, &self.data_deaf]
                .iter()
                .all(|it| it[host] == 0)
            && self.side[host] == 0
    }

    /// How long one datagram takes; `None` if it gets lost on every path.
    pub(crate) fn carry(
        &mut self,
        now: u64,
        from: usize,
        to: usize,
        draw: &mut Draw,
    ) -> Option<u64> {
        self.carry_each(now, (from, to), draw).into_iter().map(|(_, delay)| delay).min()
    }

    /// How long the copy on each path takes that does not get lost.
    pub(crate) fn carry_each(
        &mut self,
        now: u64,
        (from, to): (usize, usize),
        draw: &mut Draw,
    ) -> Vec<(usize, u64)> {
        let mut copies = Vec::with_capacity(self.paths);
        for path in 0..self.paths {
            if self.path_connects(path, from, to) && !self.loses(now, from, to, draw) {
                let delay = self.delay(draw) + self.detour[from * self.hosts + to];
                copies.push((path, delay));
            }
        }
        copies
    }

    fn loses(&mut self, now: u64, from: usize, to: usize, draw: &mut Draw) -> bool {
        if draw.chance(self.weather.loss) {
            return true;
        }
        let mean = self.weather.burst_length;
        if mean == 0 {
            return false;
        }
        let burst = &mut self.burst[from * self.hosts + to];
        while burst.until <= now {
            burst.bad = !burst.bad;
            let mean = if burst.bad { mean } else { 20 * mean };
            burst.until = burst.until.max(now.saturating_sub(mean)) + draw.between(1, 2 * mean);
        }
        burst.bad && draw.chance(self.weather.burst_loss)
    }

    fn delay(&self, draw: &mut Draw) -> u64 {
        let weather = &self.weather;
        let usual = weather.delay + draw.between(0, weather.jitter);
        if draw.chance(weather.late) { usual + draw.between(0, weather.late_most) } else { usual }
    }
}

fn lower(count: &mut u32) {
    *count = count.saturating_sub(1);
}

#[cfg(test)]
mod tests {
    use super::{Network, Weather};
    use crate::draw::{Draw, MILLISECOND};

    #[test]
    fn a_cut_is_one_way_and_overlapping_cuts_end_one_by_one() {
        let mut network = Network::new(2, 1, 1, Weather::fair());
        network.cut(0, 1);
        network.cut(0, 1);
        assert!(!network.connects(0, 1) && network.connects(1, 0));
        network.join(0, 1);
        assert!(!network.connects(0, 1));
        network.join(0, 1);
        assert!(network.connects(0, 1));
    }

    #[test]
    fn a_link_down_leaves_the_second_path_alive_and_the_client_cut() {
        let mut network = Network::new(2, 1, 2, Weather::fair());
        network.link_down(0);
        assert!(network.connects(0, 1) && !network.reaches_client(0, 0));
    }

    #[test]
    fn loss_and_bursts_lose_about_what_they_say() {
        let mut draw = Draw::new(3);
        let mut weather = Weather { loss: 100_000, ..Weather::fair() };
        let mut lost = |weather: &Weather| {
            let mut network = Network::new(2, 0, 1, weather.clone());
            let carried = |now| network.carry(now * MILLISECOND, 0, 1, &mut draw);
            (0..20_000).map(carried).filter(Option::is_none).count()
        };
        let single = lost(&weather);
        assert!((1_700..2_300).contains(&single), "{single}");
        weather = Weather { burst_loss: 1_000_000, burst_length: 100 * MILLISECOND, ..weather };
        let both = lost(&weather);
        assert!((2_200..4_000).contains(&both), "{both}");
    }
}
