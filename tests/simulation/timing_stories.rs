//! Stories of profile `auto`: hosts that get faster while all is calm, and slower at once
//! (PROTOCOL.md, section 20; H70 in docs/invariants.md).

use std::time::Duration;

use buoy::protocol::{Rule, Timing};

use crate::cluster::Cluster;
use crate::draw::{MICROSECOND, MILLISECOND, SECOND};
use crate::options::Options;
use crate::story::Outcome;

const MINUTE: u64 = 60 * SECOND;
/// From profile `lan` to `fast`: twice five minutes, and some.
const FAST_WITHIN: u64 = 11 * MINUTE;
/// A slower timing is in force everywhere within this.
const SLOWER_WITHIN: u64 = 5 * MILLISECOND;

fn auto(options: Options, broken: Option<Rule>) -> Options {
    Options { adaptive: (0..options.nodes).collect(), broken, ..options }
}

impl Cluster {
    /// The timing in force at a host.
    fn timing_in_force(&self, host: usize) -> Option<Timing> {
        let node = self.hosts[host].node.as_ref()?;
        Some(node.timing_status(self.hosts[host].clock.read(self.now))?.timing)
    }

    /// A host with profile `auto` that has other intervals than these.
    fn other_than_timing(&self, fits: impl Fn(Duration) -> bool) -> Option<String> {
        (0..self.hosts.len()).find_map(|host| {
            let interval = self.timing_in_force(host)?.heartbeat;
            (!fits(interval)).then(|| format!("n{host} has heartbeats each {interval:?}"))
        })
    }

    fn not_fast(&self) -> Option<String> {
        self.other_than_timing(|interval| interval == Timing::FAST.heartbeat)
    }

    fn not_slower_than_fast(&self) -> Option<String> {
        self.other_than_timing(|interval| interval > Timing::FAST.heartbeat)
    }

    fn faster_than_lan(&self) -> Option<String> {
        self.other_than_timing(|interval| interval >= Timing::LAN.heartbeat)
    }

    /// A host goes by profile `auto` after a reload, or a stop and a start.
    fn becomes_auto(&mut self, host: usize, restarts: bool) -> Outcome {
        self.mark();
        if restarts {
            self.stop(host, None);
            self.wait_until("H70", 5 * SECOND, |this| {
                this.hosts[host].node.is_some().then(|| format!("n{host} has not stopped"))
            })?;
        }
        self.set_adaptive(host, true);
        if restarts {
            self.start(host);
            self.settle()?;
        }
        self.expect("H70", self.safety.accusations == 0, "it has accused somebody")?;
        Ok(())
    }

    /// A cluster that has become as fast as it may.
    fn fast(options: Options) -> Result<Self, String> {
        let mut cluster = Self::settled(options)?;
        cluster.run_for(FAST_WITHIN)?;
        let slow = cluster.not_fast();
        cluster.expect("H70", slow.is_none(), "it has not become fast")?;
        cluster.mark();
        Ok(cluster)
    }
}

/// Calm hosts get as fast as profile `fast`, and one that dies is replaced as soon as with that. A
/// host that starts makes all slower, and all get fast again.
pub(crate) fn calm_hosts_get_fast(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::fast(auto(Options::calm(3, 6), broken))?;
    cluster.expect("H70", cluster.safety.accusations == 0, "it has accused somebody")?;
    let owner = cluster.owner(0);
    cluster.crash(owner, None);
    cluster.run_for(SECOND)?;
    cluster.expect_outage("H70", 200 * MILLISECOND)?;
    cluster.expect("H70", cluster.not_fast().is_none(), "a death has made it slower")?;
    cluster.power_on(owner);
    cluster.wait_until("H70", 5 * SECOND, Cluster::not_slower_than_fast)?;
    cluster.settle()?;
    cluster.run_for(FAST_WITHIN)?;
    cluster.expect("H70", cluster.not_fast().is_none(), "it has not become fast again")?;
    Ok(())
}

/// A host that stands still for longer than the timing bears: all are slower at once, nobody is
/// accused, and nobody is fast again within the five minutes that have doubled.
pub(crate) fn late_host_makes_all_slower(broken: Option<Rule>) -> Outcome {
    for seed in 0..6 {
        let mut cluster = Cluster::fast(Options { seed, ..auto(Options::calm(3, 6), broken) })?;
        let late = usize::try_from(seed % 3).expect("small");
        cluster.run_for(seed * 3 * MILLISECOND)?;
        cluster.pause(late, 55 * MILLISECOND);
        cluster.run_for(55 * MILLISECOND)?;
        cluster.wait_until("H70", SLOWER_WITHIN, Cluster::not_slower_than_fast)?;
        cluster.watch("H70", SECOND, Cluster::condemned)?;
        cluster.run_for(9 * MINUTE)?;
        cluster.expect("H70", cluster.not_slower_than_fast().is_none(), "it is fast too soon")?;
    }
    Ok(())
}

/// A host with a fixed profile holds all others back.
pub(crate) fn fixed_host_holds_all_back(broken: Option<Rule>) -> Outcome {
    let options = Options { adaptive: vec![0, 1], broken, ..Options::calm(3, 6) };
    let mut cluster = Cluster::settled(options)?;
    cluster.run_for(FAST_WITHIN)?;
    let lan = |this: &Cluster| this.other_than_timing(|it| it == Timing::LAN.heartbeat);
    cluster.expect("H70", lan(&cluster).is_none(), "it does not go by the slowest")?;
    cluster.set_profile(2, Some(Timing::VM));
    cluster.wait_until("H70", SECOND, |this| {
        this.other_than_timing(|it| it == Timing::VM.heartbeat)
    })?;
    cluster.watch("H70", 10 * SECOND, Cluster::condemned)?;
    cluster.set_profile(2, Some(Timing::FAST));
    cluster.wait_until("H70", 2 * MINUTE, Cluster::not_fast).map_err(Into::into)
}

/// A host says that it is fast and is late all the time. The others measure it and are slower, and
/// nobody accuses it.
pub(crate) fn host_that_is_not_as_fast_as_it_says(broken: Option<Rule>) -> Outcome {
    let options = Options { adaptive: vec![0, 1], broken, ..Options::calm(3, 6) };
    let mut cluster = Cluster::settled(options)?;
    cluster.set_profile(2, Some(Timing::FAST));
    cluster.run_for(FAST_WITHIN)?;
    cluster.expect("H70", cluster.not_fast().is_none(), "it has not become fast")?;
    cluster.mark();
    for _ in 0..20 {
        cluster.pause(2, 55 * MILLISECOND);
        cluster.run_for(500 * MILLISECOND)?;
    }
    cluster.expect("H70", cluster.not_slower_than_fast().is_none(), "it is still fast")?;
    cluster.expect("H70", cluster.safety.accusations == 0, "it has accused somebody")?;
    Ok(())
}

/// Datagrams of one host do not reach another for a long time: it is heard by way of the third, and
/// nothing gets faster while that is so.
pub(crate) fn nothing_gets_faster_while_a_host_is_suspected(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(auto(Options::calm(3, 6), broken))?;
    cluster.cut(0, 1);
    cluster.watch("H70", 2 * FAST_WITHIN, |this| {
        this.other_than_timing(|interval| interval >= Timing::LAN.heartbeat)
    })?;
    cluster.heal();
    cluster.run_for(FAST_WITHIN)?;
    cluster.expect("H70", cluster.not_fast().is_none(), "it has not become fast")?;
    Ok(())
}

/// A path becomes slow one way, now and then: both ends are slower at once, and nobody is accused. Where a
/// third host hears what comes late, it says so in time, and nobody has to be slower.
pub(crate) fn path_that_is_slow_one_way(broken: Option<Rule>) -> Outcome {
    for (seed, nodes) in [(0, 2), (1, 3), (2, 2), (3, 3)] {
        let options = Options { seed, ..auto(Options::calm(nodes, 6), broken) };
        let mut cluster = Cluster::fast(options)?;
        for _ in 0..10 {
            cluster.network.detour(0, 1, 45 * MILLISECOND);
            cluster.run_for(SECOND)?;
            cluster.network.detour(0, 1, 0);
            cluster.run_for(SECOND)?;
        }
        if nodes == 2 {
            cluster.expect("H70", cluster.not_slower_than_fast().is_none(), "it is still fast")?;
        } else {
            cluster.expect("H70", cluster.not_fast().is_none(), "it is slower")?;
        }
        cluster.expect("H70", cluster.safety.accusations == 0, "it has accused somebody")?;
    }
    Ok(())
}

/// One datagram in a hundred is lost, in a pair and among three: nothing is slower than `lan` for
/// that, and nobody is accused.
pub(crate) fn lost_datagrams_make_nothing_slower_than_lan(broken: Option<Rule>) -> Outcome {
    for (seed, nodes) in [(0, 2), (1, 3), (2, 5)] {
        let options = Options { seed, ..auto(Options::calm(nodes, 6), broken) };
        let mut cluster = Cluster::settled(options)?;
        cluster.network.weather.loss = 10_000;
        cluster.watch("H70", 20 * MINUTE, |this| {
            this.other_than_timing(|interval| interval <= Timing::LAN.heartbeat)
        })?;
        cluster.expect("H70", cluster.safety.accusations == 0, "it has accused somebody")?;
    }
    Ok(())
}

/// What a host says first of its slower timing is lost, to a host that it cannot be asked by: it goes
/// on to beat as before for a while.
pub(crate) fn slower_statement_is_lost(broken: Option<Rule>) -> Outcome {
    for seed in 0..8 {
        let mut cluster = Cluster::fast(Options { seed, ..auto(Options::calm(3, 1), broken) })?;
        let other = cluster.owner(0);
        let slower = cluster.other_than(&[other]);
        let late = cluster.other_than(&[other, slower]);
        cluster.cut(other, slower);
        cluster.run_for(SECOND + seed * 3 * MILLISECOND)?;
        let before = cluster.timing_in_force(slower);
        cluster.network.detour(late, slower, 55 * MILLISECOND);
        cluster.run_for(54 * MILLISECOND)?;
        cluster.cut(slower, other);
        let end = cluster.now + 25 * MILLISECOND;
        while cluster.timing_in_force(slower) == before && cluster.now < end {
            cluster.run_for(200 * MICROSECOND)?;
        }
        cluster.network.join(slower, other);
        cluster.watch("H70", SECOND, |this| this.condemned_by(other))?;
        cluster.heal();
    }
    Ok(())
}

/// A daemon dies and starts again while the cluster gets faster: at any time, nobody is accused but
/// the one that is dead.
pub(crate) fn restart_while_it_gets_faster(broken: Option<Rule>) -> Outcome {
    for seed in 0..6 {
        let mut cluster = Cluster::settled(Options { seed, ..auto(Options::calm(3, 6), broken) })?;
        let early = (4 * MINUTE + 50 * SECOND, 5 * MINUTE + 5 * SECOND);
        cluster.run_for(if seed % 2 == 0 { early.0 } else { early.1 } + seed * 2 * SECOND)?;
        let victim = usize::try_from(seed % 3).expect("small");
        cluster.stop(victim, None);
        cluster.wait_until("H70", 5 * SECOND, |this| {
            this.hosts[victim].node.is_some().then(|| format!("n{victim} has not stopped"))
        })?;
        cluster.mark();
        cluster.run_for(seed * 400 * MILLISECOND)?;
        cluster.start(victim);
        cluster.settle()?;
        cluster.run_for(FAST_WITHIN)?;
        cluster.expect("H70", cluster.not_fast().is_none(), "it has not become fast")?;
        cluster.expect("H70", cluster.safety.accusations == 0, "it has accused somebody")?;
    }
    Ok(())
}

/// A daemon is restarted in place: the next process goes on with the timing in force, fast or slow, and
/// nobody is accused for the silence meanwhile.
pub(crate) fn restart_in_place_goes_on_with_the_timing(broken: Option<Rule>) -> Outcome {
    for seed in 0..4 {
        let options = Options { seed, in_place: true, ..Options::calm(3, 6) };
        let mut cluster = Cluster::fast(auto(options.clone(), broken))?;
        let host = cluster.owner(0);
        cluster.restart_in_place(host, (20 + seed * 10) * MILLISECOND);
        cluster.watch("H70", 2 * SECOND, Cluster::condemned)?;
        cluster.expect("H70", cluster.not_fast().is_none(), "a restart has made it slower")?;

        let slow = Options { adaptive: vec![0, 1], broken, ..options };
        let mut cluster = Cluster::settled(slow)?;
        let is_slow =
            |this: &Cluster| this.other_than_timing(|interval| interval == Timing::VM.heartbeat);
        cluster.set_profile(2, Some(Timing::VM));
        cluster.wait_until("H70", 2 * SECOND, is_slow)?;
        cluster.run_for(5 * SECOND)?;
        cluster.mark();
        cluster.restart_in_place(0, (300 + seed * 200) * MILLISECOND);
        cluster.run_for(2 * SECOND)?;
        cluster.expect("H70", is_slow(&cluster).is_none(), "it has become faster")?;
        cluster.watch("H70", 5 * SECOND, Cluster::condemned)?;
        cluster.expect_moves("H70", 0)?;
    }
    Ok(())
}

/// A1: the timing changes, and right then the owner of groups in mode majority is cut off. Its leases
/// and the promises of the voters are of different timings; S1 is checked at every step.
pub(crate) fn strict_owner_cut_off_while_the_timing_changes(broken: Option<Rule>) -> Outcome {
    for seed in 0..8 {
        let options = Options { seed, profiles: true, ..Options::strict(3, 3, false) };
        let mut cluster = Cluster::fast(auto(options, broken))?;
        let owner = cluster.owner(0);
        let voter = cluster.other_than(&[owner]);
        let late = if seed % 2 == 0 { owner } else { voter };
        cluster.pause(
            late,
            [45, 70, 150, 300][usize::try_from(seed / 2).expect("small")] * MILLISECOND,
        );
        cluster.run_for(seed * 40 * MILLISECOND)?;
        for other in (0..3).filter(|other| *other != owner) {
            cluster.cut(owner, other);
            cluster.cut(other, owner);
        }
        cluster.run_for(20 * SECOND)?;
        cluster.expect("A1", cluster.uncovered().is_none(), "not one owner for each group")?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// The first load after a long calm: the daemon of a host is not run for several detection times at
/// once. Its kernel answers meanwhile, so nobody takes over, and all are slower when it is over.
pub(crate) fn load_arrives_at_once(broken: Option<Rule>) -> Outcome {
    for (seed, nodes) in [(0, 2), (1, 3), (2, 2), (3, 3), (4, 5)] {
        let options = Options { seed, ..auto(Options::calm(nodes, 6), broken) };
        let mut cluster = Cluster::fast(options)?;
        let loaded = cluster.owner(0);
        for length in [120, 180, 240] {
            cluster.pause(loaded, (length + seed * 3) * MILLISECOND);
            cluster.run_for(SECOND)?;
        }
        cluster.expect_moves("H70", 0)?;
        cluster.expect("H70", cluster.not_slower_than_fast().is_none(), "it is still fast")?;
        cluster.expect("H70", cluster.safety.accusations == 0, "it has accused somebody")?;
    }
    Ok(())
}

/// A virtual machine stands still with its kernel for longer than the fastest timing waits, and for
/// less than `lan` does, each day at the same time. Its groups are taken from it once; on the other
/// days of the week the cluster waits.
pub(crate) fn machine_pauses_each_day(broken: Option<Rule>) -> Outcome {
    let options = Options { seed: 1, ..auto(Options::calm(3, 3), broken) };
    let mut cluster = Cluster::fast(options)?;
    let paused = cluster.owner(0);
    cluster.pause_machine(paused, 150 * MILLISECOND);
    cluster.run_for(MINUTE)?;
    cluster.expect("H70", cluster.faster_than_lan().is_none(), "it is still faster than lan")?;
    // Longer than the calm that makes a host faster, however often it has been doubled.
    cluster.run_for(2 * 60 * MINUTE)?;
    cluster.settle()?;
    cluster.mark();
    for _ in 0..3 {
        cluster.pause_machine(paused, 150 * MILLISECOND);
        cluster.run_for(MINUTE)?;
    }
    cluster.expect_moves("H70", 0)?;
    cluster.expect("H70", cluster.safety.accusations == 0, "it has accused somebody again")?;
    Ok(())
}

/// The default changes from `lan` to `auto`: one host after the other reloads, or is restarted with newer
/// software, with a long pause after the first. While one is left at `lan` nothing is faster than that. Then
/// one goes back, and an owner dies right after.
pub(crate) fn default_becomes_auto_host_by_host(broken: Option<Rule>) -> Outcome {
    for seed in 0..6 {
        let strict = seed % 2 == 1;
        let calm = if strict { Options::strict(3, 3, false) } else { Options::calm(3, 6) };
        let mut cluster = Cluster::settled(Options { seed, broken, profiles: true, ..calm })?;
        let first = usize::try_from(seed % 3).expect("small");
        for turn in 0..3 {
            cluster.becomes_auto((first + turn) % 3, seed >= 3)?;
            cluster.run_for(if turn == 0 { FAST_WITHIN } else { 5 * SECOND })?;
            cluster.expect("H70", cluster.faster_than_lan().is_none(), "it is faster than lan")?;
        }
        cluster.run_for(FAST_WITHIN)?;
        cluster.expect("H70", cluster.not_fast().is_none(), "it has not become fast")?;
        cluster.mark();
        cluster.set_adaptive(first, false);
        cluster.wait_until("H70", SECOND, Cluster::faster_than_lan)?;
        cluster.run_for(5 * SECOND)?;
        cluster.expect_moves("H70", 0)?;
        cluster.expect("H70", cluster.safety.accusations == 0, "it has accused somebody")?;
        cluster.set_adaptive(first, true);
        cluster.run_for(seed * 7 * MILLISECOND)?;
        cluster.crash(cluster.owner(0), None);
        cluster.run_for(3 * SECOND)?;
        cluster.expect("H70", cluster.uncovered().is_none(), "not one owner for each group")?;
    }
    Ok(())
}

/// A daemon is frozen once for less than the slowest timing waits. An owner that dies soon after is
/// missed as soon as in profile `lan`.
pub(crate) fn frozen_daemon_makes_nothing_slower_than_lan(broken: Option<Rule>) -> Outcome {
    for seed in 0..3 {
        let options = Options { seed, ..auto(Options::calm(3, 6), broken) };
        let mut cluster = Cluster::fast(options)?;
        let frozen = cluster.owner(0);
        cluster.pause(frozen, 1500 * MILLISECOND);
        cluster.run_for(20 * SECOND)?;
        cluster.settle()?;
        cluster.mark();
        cluster.crash(cluster.owner(0), None);
        cluster.run_for(SECOND)?;
        cluster.expect_outage("H70", 450 * MILLISECOND)?;
    }
    Ok(())
}
