//! Stories of a router outside the cluster that shares an address with it by VRRP, once as keepalived and
//! once as FRR.

use buoy::protocol::Rule;

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::options::Options;
use crate::story::{Outcome, calm};
use crate::trace::Violation;
use crate::virtual_routers::{GROUP, Kind};

/// A client is without an answer for so long when the address goes in or out by plan.
const GIVEN_WITHIN: u64 = 20 * MILLISECOND;
/// A member dies; another has its group.
const RELIEVED_WITHIN: u64 = 400 * MILLISECOND;
/// `Active_Down_Interval` at one advertisement a second and any priority.
const SILENCE: u64 = 4 * SECOND;
/// A member that knows it has to itself takes within.
const TAKEN_WITHIN: u64 = 1500 * MILLISECOND;

/// A settled cluster of three that has listened and speaks.
fn speaking(seed: u64, broken: Option<Rule>) -> Result<Cluster, Violation> {
    let mut cluster = Cluster::settled(Options { seed, ..calm(3, 3, broken) })?;
    cluster.make_virtual_router();
    cluster.run_for(SILENCE + SECOND)?;
    cluster.mark();
    Ok(cluster)
}

fn kinds() -> impl Iterator<Item = (u64, Kind)> {
    (0..4).flat_map(|seed| [Kind::Keepalived, Kind::Frr].map(|kind| (seed, kind)))
}

impl Cluster {
    fn not_at_a_member(&self) -> Option<String> {
        let open = &self.open[GROUP];
        (open.len() != 1).then(|| format!("{open:?} answer for it"))
    }

    fn not_outside(&self) -> Option<String> {
        let there = self.conflicts.groups.contains(&GROUP) && self.open[GROUP].is_empty();
        (!there).then(|| format!("{:?} answer for it", self.open[GROUP]))
    }

    fn taken_by_the_router(&self) -> Option<String> {
        self.virtual_routers.outside_is_active().then(|| "the router outside is active".to_owned())
    }

    /// All clients are answered, and none was without an answer for longer.
    fn all_are_served(&mut self, most: u64) -> Result<(), Violation> {
        self.run_for(SECOND)?;
        let lost = (0..self.clients.len()).find(|client| !self.is_served(*client, GROUP));
        self.expect("VRRP", lost.is_none(), "a client is not answered")?;
        self.expect_outage("VRRP", most)
    }
}

/// A router of lower priority never becomes active while a member lives, whichever of them dies.
pub(crate) fn weaker_router_outside(broken: Option<Rule>) -> Outcome {
    for (seed, kind) in kinds() {
        let mut cluster = speaking(seed, broken)?;
        cluster.start_router(kind, 100);
        cluster.watch("VRRP", 3 * SILENCE, Cluster::taken_by_the_router)?;
        cluster.expect_outage("VRRP", 0)?;
        let owner = cluster.owner(GROUP);
        cluster.crash(owner, None);
        cluster.wait_until("VRRP", RELIEVED_WITHIN, Cluster::not_at_a_member)?;
        cluster.watch("VRRP", 2 * SILENCE, Cluster::taken_by_the_router)?;
        cluster.expect_outage("VRRP", RELIEVED_WITHIN)?;
    }
    Ok(())
}

/// A router whose priority is raised takes the address, gives it back when that is lowered, and takes it once
/// more soon after: clients follow each time. When it stops, the cluster has it again.
pub(crate) fn stronger_router_outside(broken: Option<Rule>) -> Outcome {
    for (seed, kind) in kinds() {
        let mut cluster = speaking(seed, broken)?;
        cluster.start_router(kind, 100);
        cluster.run_for(2 * SILENCE)?;
        for _ in 0..3 {
            cluster.mark();
            cluster.change_router(200);
            cluster.wait_until("VRRP", SILENCE, Cluster::not_outside)?;
            cluster.all_are_served(GIVEN_WITHIN)?;
            cluster.mark();
            cluster.change_router(100);
            cluster.wait_until("VRRP", TAKEN_WITHIN, Cluster::not_at_a_member)?;
            cluster.all_are_served(GIVEN_WITHIN)?;
        }
        cluster.change_router(200);
        cluster.wait_until("VRRP", SILENCE, Cluster::not_outside)?;
        cluster.watch("VRRP", 2 * SILENCE, |this| {
            (!this.open[GROUP].is_empty()).then(|| "a member has it too".to_owned())
        })?;
        cluster.mark();
        cluster.stop_router();
        cluster.wait_until("VRRP", TAKEN_WITHIN, Cluster::not_at_a_member)?;
        cluster.all_are_served(RELIEVED_WITHIN)?;
    }
    Ok(())
}

/// All members die at once: the router is the next.
pub(crate) fn cluster_that_dies_beside_a_router(broken: Option<Rule>) -> Outcome {
    for (seed, kind) in kinds() {
        let mut cluster = speaking(seed, broken)?;
        cluster.start_router(kind, 100);
        cluster.run_for(SILENCE)?;
        for host in 0..3 {
            cluster.crash(host, None);
        }
        cluster.wait_until("VRRP", SILENCE, Cluster::not_outside)?;
        for host in 0..3 {
            cluster.power_on(host);
        }
        // It gives way to them when they have listened.
        cluster.wait_until("VRRP", 2 * SILENCE + SECOND, Cluster::not_at_a_member)?;
        cluster.all_are_served(10 * SECOND)?;
    }
    Ok(())
}

/// One member after the other stops in good order, and the last gives the address to the router.
pub(crate) fn cluster_that_leaves_for_a_router(broken: Option<Rule>) -> Outcome {
    for (seed, kind) in kinds() {
        let mut cluster = speaking(seed, broken)?;
        cluster.start_router(kind, 100);
        cluster.run_for(SILENCE)?;
        cluster.mark();
        for _ in 0..3 {
            let owner = cluster.owner(GROUP);
            cluster.stop(owner, None);
            cluster.run_for(2 * SECOND)?;
        }
        cluster.wait_until("VRRP", SECOND, Cluster::not_outside)?;
        let outage = cluster.clients.iter().map(|it| it.outage(cluster.now, GROUP)).max();
        let outage = outage.unwrap_or_default();
        let text = format!("clients were without it for {} ms", outage / MILLISECOND);
        cluster.expect("VRRP", outage <= GIVEN_WITHIN, &text)?;
    }
    Ok(())
}
