//! Stories of hosts: death, stops, boots, kernels that refuse (H10 to H39, H59, H60 in
//! docs/invariants.md).

use buoy::protocol::{Failure, NodePhase, Rule};

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::options::Options;
use crate::story::{Outcome, calm};

/// A host has died: three heartbeats, the phase of the last one, and what taking takes.
const DEATH_WITHIN: u64 = 450 * MILLISECOND;
/// Shorter than a datagram and its answer are under way.
const MOMENT: u64 = MILLISECOND / 20;
/// Who goes on after a stop has given way within this.
const GIVES_WAY_WITHIN: u64 = 400 * MILLISECOND;
/// A group handed over is away for no longer than this.
const HANDED_OVER_WITHIN: u64 = 20 * MILLISECOND;

/// H18: an owner loses power. Its clients wait for less than half a second.
pub(crate) fn host_death(broken: Option<Rule>) -> Outcome {
    for seed in 0..20 {
        let nodes = [2, 3, 5][usize::try_from(seed % 3).expect("small")];
        let mut cluster = Cluster::settled(Options { seed, ..calm(nodes, 10, broken) })?;
        let owner = cluster.owner(0);
        cluster.run_for(seed * 7 * MILLISECOND)?;
        cluster.mark();
        cluster.crash(owner, None);
        cluster.wait_until("H18", DEATH_WITHIN, Cluster::misled)?;
        cluster.run_for(5 * SECOND)?;
        cluster.expect_outage("H18", DEATH_WITHIN)?;
    }
    Ok(())
}

/// H11: the daemon of an owner is killed with its guardian and leaves its addresses. Others take them, clients are
/// told, and the next life of the daemon removes what is left.
pub(crate) fn crash_of_daemon(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 6, broken))?;
    let owner = cluster.owner(0);
    cluster.kill_daemon(owner, None, false);
    cluster.run_for(5 * SECOND)?;
    cluster.expect("H11", cluster.misled().is_none(), "a client is lost")?;
    cluster.start(owner);
    cluster.wait_until("H43", 10 * MILLISECOND, Cluster::uncovered)?;
    cluster.wait_until("H43", DEATH_WITHIN, Cluster::misled)?;
    cluster.settle()?;
    Ok(())
}

/// H11: the daemon of an owner is killed and its guardian is not. Clients hardly notice, also when
/// a farewell is lost, and the next life of the daemon is welcome.
pub(crate) fn guarded_daemon(broken: Option<Rule>) -> Outcome {
    for seed in 0..20 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(3, 6, broken) })?;
        let owner = cluster.owner(0);
        cluster.network.weather.loss = 100_000;
        cluster.kill_daemon(owner, None, true);
        cluster.run_for(100 * MILLISECOND)?;
        cluster.network.weather.loss = 0;
        cluster.run_for(SECOND)?;
        cluster.expect_outage("H11", 150 * MILLISECOND)?;
        cluster.wait_until("H11", HANDED_OVER_WITHIN, Cluster::uncovered)?;
        cluster.start(owner);
        cluster.settle()?;
    }
    Ok(())
}

/// H10: the daemon of an owner is stopped for three seconds. On going on it accuses nobody,
/// announces nothing, and gives way to those who have taken its groups.
pub(crate) fn freeze_and_thaw(broken: Option<Rule>) -> Outcome {
    for (seed, nodes) in [(1, 2), (2, 3), (3, 5)] {
        let mut cluster = Cluster::settled(Options { seed, ..calm(nodes, 6, broken) })?;
        let owner = cluster.owner(0);
        cluster.pause(owner, 3 * SECOND);
        cluster.run_for(3 * SECOND - MILLISECOND)?;
        cluster.expect("H10", cluster.misled().is_none(), "a client is lost")?;
        cluster.watch("H10", GIVES_WAY_WITHIN, |this| {
            this.condemned_by(owner).or_else(|| this.misled())
        })?;
        cluster.expect("H10", cluster.uncovered().is_none(), "it has not given way")?;
        cluster.expect_outage("H10", DEATH_WITHIN)?;
        cluster.settle()?;
    }
    Ok(())
}

/// H10: as before, but the heartbeats of the others do not reach it when it goes on. Its kernel does
/// not answer again before it has had the time to hear how things are.
pub(crate) fn thawed_owner_knows_nothing(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 6, broken))?;
    let owner = cluster.owner(0);
    for other in (0..3).filter(|other| *other != owner) {
        cluster.cut(other, owner);
    }
    cluster.pause(owner, 3 * SECOND);
    cluster.run_for(3 * SECOND - MILLISECOND)?;
    cluster.watch("H10", 290 * MILLISECOND, Cluster::uncovered)?;
    cluster.heal();
    cluster.settle()?;
    Ok(())
}

/// An owner stands still for half a second, and when it goes on its kernel thread does not get the
/// processor. What it gave way for is not answered twice, however late the removal is.
pub(crate) fn slow_kernel_of_a_loser(broken: Option<Rule>) -> Outcome {
    for seed in 1..4 {
        let options = Options { seed, kernel_slow: 1_000_000, ..calm(3, 6, broken) };
        let mut cluster = Cluster::settled(options)?;
        let owner = cluster.owner(0);
        // Nobody takes what its kernel answers for before its lease has ended.
        cluster.pause(owner, 900 * MILLISECOND);
        cluster.run_for(910 * MILLISECOND)?;
        cluster.watch("L3", 5 * SECOND, Cluster::doubled)?;
    }
    Ok(())
}

/// H13: the machine of an owner is stopped together with its clocks, so that it can not tell by
/// them. It still gives way as soon as it hears its peers.
pub(crate) fn machine_pause(broken: Option<Rule>) -> Outcome {
    for (seed, nodes) in [(1, 2), (2, 3), (3, 5)] {
        let mut cluster = Cluster::settled(Options { seed, ..calm(nodes, 6, broken) })?;
        let owner = cluster.owner(0);
        let ends = cluster.now + 3 * SECOND;
        cluster.pause_machine(owner, 3 * SECOND);
        cluster.wait_until("H13", DEATH_WITHIN, Cluster::misled)?;
        cluster.run_to(ends)?;
        cluster.mark();
        // By now it runs, and its kernel answers until it gives way.
        cluster.run_for(MILLISECOND)?;
        cluster.wait_until("H13", GIVES_WAY_WITHIN, Cluster::uncovered)?;
        cluster.watch("H13", SECOND, Cluster::misled)?;
        cluster.expect("H13", cluster.safety.accusations == 0, "it has accused somebody")?;
        cluster.expect_outage("H13", HANDED_OVER_WITHIN)?;
        cluster.settle()?;
    }
    Ok(())
}

/// H13: the machine of an owner stands still just before it would repeat an announcement, and what
/// was sent to it meanwhile is lost. When it goes on the clocks of the others show what its own
/// has missed, and from then on it is silent until it knows better.
pub(crate) fn machine_pause_before_a_repeat(broken: Option<Rule>) -> Outcome {
    for seed in 0..20 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(3, 6, broken) })?;
        let dies = cluster.owner(0);
        cluster.crash(dies, None);
        cluster.wait_until("H13", SECOND, Cluster::uncovered)?;
        let owner = cluster.owner(0);
        cluster.run_for((1_300 + seed % 10 * 10) * MILLISECOND)?;
        cluster.pause_machine(owner, 3 * SECOND);
        cluster.run_for(3 * SECOND - MILLISECOND)?;
        cluster.hosts[owner].outside.clear();
        cluster.expect_to_resume(owner)?;
        cluster.run_for(SECOND)?;
        cluster.wait_until("H13", GIVES_WAY_WITHIN, Cluster::uncovered)?;
    }
    Ok(())
}

impl Cluster {
    /// H13: a machine that goes on finds out by the clocks of the others that it stood still.
    fn expect_to_resume(&mut self, host: usize) -> Outcome {
        let mut resumes = false;
        for _ in 0..100 * MILLISECOND / MOMENT {
            self.run_for(MOMENT)?;
            resumes |= self.safety.hosts[host].phase == NodePhase::Resuming;
        }
        self.expect("H13", resumes, "it does not know that it stood still")?;
        Ok(())
    }
}

/// H13: a snapshot stops an owner for 188 ms. Nothing moves.
pub(crate) fn short_machine_pause(broken: Option<Rule>) -> Outcome {
    for seed in 0..5 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(3, 6, broken) })?;
        let owner = cluster.owner(0);
        cluster.pause_machine(owner, 188 * MILLISECOND);
        cluster.watch("H13", 10 * SECOND, Cluster::condemned)?;
        cluster.expect_moves("H13", 0)?;
    }
    Ok(())
}

/// H13: the machines of two of three nodes stand still together. The first that goes on has not missed
/// the other yet, so its side looks larger than it is: it gives way to what the third has taken.
pub(crate) fn two_machines_pause(broken: Option<Rule>) -> Outcome {
    for seed in 0..10 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(3, 6, broken) })?;
        let first = cluster.owner(0);
        let second = (first + 1) % 3;
        cluster.pause_machine(first, SECOND);
        cluster.pause_machine(second, 5 * SECOND);
        cluster.run_for(SECOND)?;
        cluster.mark();
        cluster.run_for(300 * MILLISECOND)?;
        cluster.expect("H13", cluster.owner(0) != first, "it has taken back what it had lost")?;
        cluster.run_for(5 * SECOND)?;
        cluster.settle()?;
    }
    Ok(())
}

/// H3, H19: what a host said in its last moments arrives when it is up again in another life, and
/// others have its groups. Nobody believes it.
pub(crate) fn past_life(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 6, broken))?;
    let owner = cluster.owner(0);
    let usual = cluster.network.weather.delay;
    cluster.network.weather.delay = 3 * SECOND;
    cluster.run_for(110 * MILLISECOND)?;
    cluster.network.weather.delay = usual;
    cluster.crash(owner, None);
    cluster.run_for(500 * MILLISECOND)?;
    cluster.power_on(owner);
    cluster.wait_until("H19", 2 * SECOND, Cluster::uncovered)?;
    cluster.watch("H19", 300 * MILLISECOND, Cluster::uncovered)?;
    cluster.run_for(4 * SECOND)?;
    cluster.expect_outage("H19", DEATH_WITHIN)?;
    cluster.expect("H19", cluster.safety.accusations == 0, "a living node was accused")?;
    cluster.settle()?;
    Ok(())
}

/// A host dies and is up again before anybody has missed it. Its old claims hold nothing: its
/// groups are served again as soon as after a death.
pub(crate) fn reborn_owner(broken: Option<Rule>) -> Outcome {
    for away in [20, 100, 200, 280] {
        let mut cluster = Cluster::settled(calm(3, 6, broken))?;
        let owner = cluster.owner(0);
        cluster.crash(owner, None);
        cluster.run_for(away * MILLISECOND)?;
        cluster.power_on(owner);
        cluster.wait_until("H18", DEATH_WITHIN, Cluster::misled)?;
        cluster.settle()?;
    }
    Ok(())
}

/// H27: all daemons start together. Each group is taken once, and evenly.
pub(crate) fn cold_boot(broken: Option<Rule>) -> Outcome {
    for (seed, nodes) in [(1, 3), (2, 5), (3, 3), (4, 5)] {
        let mut cluster = Cluster::new(Options { seed, ..calm(nodes, 15, broken) });
        cluster.wait_until("H27", 3 * SECOND, Cluster::uncovered)?;
        cluster.expect("H27", cluster.unbalanced().is_none(), "the loads are uneven")?;
        cluster.run_for(20 * SECOND)?;
        cluster.expect_moves("H27", 0)?;
        cluster.expect("H27", cluster.unwell().is_none(), "all is not well")?;
    }
    Ok(())
}

/// H28: a node starts in a cluster that serves all groups. It steals nothing; it is given its
/// share, group by group, and clients hardly notice.
pub(crate) fn boot_into_busy_cluster(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::new(calm(3, 9, broken));
    cluster.hosts[2].powered = false;
    cluster.wait_until("H28", 5 * SECOND, Cluster::uncovered)?;
    cluster.run_for(10 * SECOND)?;
    cluster.mark();
    cluster.power_on(2);
    cluster.watch("H28", 900 * MILLISECOND, |this| this.not_empty(2))?;
    cluster.wait_until("H28", 60 * SECOND, Cluster::unwell)?;
    cluster.run_for(10 * SECOND)?;
    cluster.expect_moves("H28", 3)?;
    cluster.expect_outage("H28", 20 * MILLISECOND)?;
    Ok(())
}

/// H29: a node starts alone and knows of nobody who could answer it: its switch port may still be
/// blocked. It waits for as long as a spanning tree may take, and then serves.
pub(crate) fn lone_boot(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::new(Options { clients: 0, ..calm(2, 4, broken) });
    cluster.hosts[1].powered = false;
    cluster.watch("H29", 34 * SECOND, |this| this.not_empty(0))?;
    cluster.wait_until("H29", 6 * SECOND, Cluster::uncovered)?;
    Ok(())
}

/// H29: a node starts alone, and a client answers it. It serves as soon as it has listened.
pub(crate) fn lone_boot_with_evidence(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::new(calm(2, 4, broken));
    cluster.hosts[1].powered = false;
    cluster.watch("H29", 900 * MILLISECOND, |this| this.not_empty(0))?;
    cluster.wait_until("H29", 4 * SECOND, Cluster::uncovered)?;
    Ok(())
}

/// H30: a node dies every four seconds for two minutes. Groups stop following it after its third
/// death: a death and the restart after it are one fall. So its three groups leave it three times and
/// come back twice.
pub(crate) fn flapping_node(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 9, broken))?;
    for _ in 0..30 {
        cluster.crash(2, Some(SECOND));
        cluster.run_for(4 * SECOND)?;
    }
    let moves = cluster.safety.moves;
    cluster.expect("H30", moves <= 16, &format!("{moves} moves in 30 flaps"))?;
    cluster.demand_convergence()?;
    Ok(())
}

/// H37: one of two dies with half of a thousand groups. They are announced no faster than allowed
/// (S14), each for the first time before any is repeated.
pub(crate) fn mass_failover(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(Options { traced: false, ..calm(2, 1_000, broken) })?;
    cluster.crash(0, None);
    cluster.wait_until("H37", 1_200 * MILLISECOND, Cluster::misled)?;
    cluster.run_for(10 * SECOND)?;
    let moves = cluster.safety.moves;
    cluster.expect("H37", moves == 500, &format!("{moves} of 500 groups have moved"))?;
    cluster.expect_outage("H37", 1_200 * MILLISECOND)?;
    Ok(())
}

/// H39: the kernel of one node refuses every address when an owner dies. The next in line takes
/// what falls to that node.
pub(crate) fn kernel_refuses(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(4, 12, broken))?;
    let owner = cluster.owner(0);
    let sick = cluster.other_than(&[owner]);
    let kept = cluster.groups_of(sick).len();
    cluster.break_kernel(sick, Failure::Refused, 0b1111);
    cluster.crash(owner, None);
    cluster.wait_until("H39", 700 * MILLISECOND, Cluster::misled)?;
    cluster.run_for(20 * SECOND)?;
    cluster.expect_outage("H39", 700 * MILLISECOND)?;
    let tries = cluster.safety.acquisitions;
    cluster.expect("H39", tries <= 30, &format!("{tries} orders to add in 20 s"))?;
    let has = cluster.groups_of(sick).len();
    cluster.expect("H39", has == kept, &format!("it had {kept} groups and has {has}"))?;
    Ok(())
}

/// H59: of five nodes an owner dies together with both its heirs. The two that are left agree who
/// takes, without a word.
pub(crate) fn owner_and_both_heirs_die(broken: Option<Rule>) -> Outcome {
    for seed in 0..20 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(5, 20, broken) })?;
        cluster.safety.doublings = 0;
        for host in 0..3 {
            cluster.crash(host, None);
        }
        cluster.watch("H59", 700 * MILLISECOND, Cluster::doubled)?;
        let doublings = cluster.safety.doublings;
        cluster.expect("H59", doublings == 0, &format!("{doublings} groups were taken twice"))?;
        cluster.expect("H59", cluster.uncovered().is_none(), "all is not covered")?;
    }
    Ok(())
}

/// The groups of a dead node spread over the others at once, before any balancing.
pub(crate) fn share_of_the_dead(broken: Option<Rule>) -> Outcome {
    for seed in 0..5 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(3, 30, broken) })?;
        cluster.crash(0, None);
        cluster.run_for(500 * MILLISECOND)?;
        let shares = [1, 2].map(|host| cluster.groups_of(host).len());
        let even = shares[0].abs_diff(shares[1]) <= 2 && shares[0] + shares[1] == 30;
        cluster.expect("L2", even, &format!("the survivors have {shares:?}"))?;
    }
    Ok(())
}

/// H59: an owner dies together with any other node, its first heir among them. The next heir
/// takes.
pub(crate) fn owner_and_heir_die(broken: Option<Rule>) -> Outcome {
    for other in 1..4 {
        let mut cluster = Cluster::settled(calm(4, 8, broken))?;
        let owner = cluster.owner(0);
        cluster.crash(owner, None);
        cluster.crash((owner + other) % 4, None);
        cluster.wait_until("H59", 2 * DEATH_WITHIN, Cluster::misled)?;
        cluster.run_for(5 * SECOND)?;
        cluster.expect_outage("H59", 600 * MILLISECOND)?;
    }
    Ok(())
}

/// H60: an heir dies, one node misses whom the owner names then, and the owner dies too. There
/// may be one claim too many, and it is gone soon.
pub(crate) fn missed_claim_update(broken: Option<Rule>) -> Outcome {
    for after in 0..8 {
        let mut cluster = Cluster::settled(calm(4, 8, broken))?;
        cluster.crash(1, None);
        cluster.run_for(250 * MILLISECOND)?;
        cluster.cut(0, 3);
        cluster.run_for(after * 50 * MILLISECOND)?;
        cluster.crash(0, None);
        cluster.wait_until("H60", SECOND, Cluster::misled)?;
        cluster.wait_until("H60", GIVES_WAY_WITHIN, Cluster::uncovered)?;
        cluster.watch("H60", 5 * SECOND, Cluster::doubled)?;
        cluster.expect_outage("H60", 700 * MILLISECOND)?;
        cluster.expect_moves("H60", 12)?;
    }
    Ok(())
}

/// H39: the kernel of one cannot hold some groups (IPv6 is off), which are told of by nothing but its
/// refusals. It is asked some times, less and less often, and keeps what it can hold.
pub(crate) fn kernel_cannot(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::new(calm(3, 12, broken));
    cluster.break_kernel(2, Failure::Refused, 0b0111);
    cluster.run_for(20 * SECOND)?;
    cluster.expect("H39", cluster.uncovered().is_none(), "all is not covered")?;
    cluster.mark();
    cluster.run_for(600 * SECOND)?;
    let acquired = cluster.safety.acquisitions;
    // Nine groups, each at most five times: one order there and one at whoever takes back.
    cluster.expect("H39", acquired <= 90, &format!("{acquired} orders in ten minutes"))?;
    cluster.mend_kernel(2);
    cluster.settle()?;
    Ok(())
}

/// The kernel thread of a survivor hangs (a lock in the kernel is held) when it takes over. Others take
/// what it has claimed and not added; what it serves it goes on to serve.
pub(crate) fn kernel_hangs(broken: Option<Rule>) -> Outcome {
    for seed in 0..4 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(3, 12, broken) })?;
        let (dies, hangs) = (cluster.owner(0), cluster.other_than(&[cluster.owner(0)]));
        let keeps = cluster.groups_of(hangs);
        cluster.hosts[hangs].kernel.hangs = true;
        cluster.crash(dies, None);
        cluster.wait_until("B3", 7 * SECOND, Cluster::uncovered)?;
        cluster.watch("B3", 20 * SECOND, Cluster::uncovered)?;
        cluster.expect("B3", cluster.groups_of(hangs) == keeps, "it has lost groups")?;
        cluster.mend_kernel(hangs);
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}
