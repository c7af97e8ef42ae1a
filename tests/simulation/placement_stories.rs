//! Stories of the rules of placement: labels that a pool requires, while hosts with and without them
//! die and come back, and while an operator holds.

use buoy::protocol::{Configuration, LastResort, NodeId, Placement, Rule};

use crate::checks::web;
use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::hold_stories::hold_for;
use crate::options::Options;
use crate::story::{Outcome, calm};

/// Longer than a group rests after it was moved, with a look at the balance.
const RESTORED_WITHIN: u64 = 75 * SECOND;
/// A group handed over is away for no longer than this.
const HANDED_OVER_WITHIN: u64 = 20 * MILLISECOND;

/// A cluster whose files have these rules.
fn ruled(options: Options, adjust: fn(&mut Configuration)) -> Cluster {
    let mut cluster = Cluster::new(options);
    cluster.plans[0].adjust = Some(adjust);
    cluster
}

fn placed(lacking: impl Iterator<Item = NodeId>) -> Placement {
    Placement { lacking: lacking.collect() }
}

/// All but the first two nodes lack a label that the pool requires.
fn two_have_the_card(it: &mut Configuration) {
    let lacking = placed(it.nodes.keys().skip(2).copied());
    it.placement.insert(web(), lacking);
}

/// The same, and the last resort is to let go.
fn two_have_the_card_or_nobody(it: &mut Configuration) {
    two_have_the_card(it);
    it.groups.values_mut().for_each(|group| group.last_resort = LastResort::Release);
}

impl Cluster {
    /// Hosts in the order of their nodes.
    fn in_order(&self) -> Vec<usize> {
        self.index.values().copied().collect()
    }

    /// Groups that one of these hosts answers for.
    fn answered_by(&self, hosts: &[usize]) -> Option<String> {
        hosts.iter().find_map(|host| self.not_empty(*host))
    }

    /// Groups that none of these hosts answers for.
    fn elsewhere(&self, hosts: &[usize]) -> Option<String> {
        let at = |group: &usize| self.open[*group].iter().any(|host| hosts.contains(host));
        let away: Vec<usize> = (0..self.groups.len()).filter(|group| !at(group)).collect();
        (!away.is_empty()).then(|| format!("{away:?} are not at {hosts:?}"))
    }

    /// The groups are shared by two hosts so that neither has more than one above the other.
    fn uneven(&self, one: usize, other: usize) -> Option<String> {
        let (one, other) = (self.groups_of(one).len(), self.groups_of(other).len());
        (one.abs_diff(other) > 1).then(|| format!("{one} and {other}"))
    }
}

/// Two of four hosts have the card that the pool requires. They share the groups. One dies: the other
/// gets all. It dies too: the others serve without a card. It comes back while an operator holds:
/// nothing moves, then everything. When the first is back as well, both share alike.
pub(crate) fn label_required(broken: Option<Rule>) -> Outcome {
    let mut cluster = ruled(calm(4, 8, broken), two_have_the_card);
    let hosts = cluster.in_order();
    let (with, without) = hosts.split_at(2);
    cluster.wait_until("P1", 10 * SECOND, |this| this.elsewhere(with))?;
    cluster.wait_until("P1", 10 * SECOND, |this| this.uneven(with[0], with[1]))?;
    cluster.run_for(10 * SECOND)?;
    cluster.mark();
    cluster.watch("P1", 70 * SECOND, |this| this.answered_by(without))?;
    cluster.expect_moves("P1", 0)?;
    cluster.crash(with[0], None);
    cluster.wait_until("P1", 2 * SECOND, |this| this.elsewhere(&with[1..]))?;
    cluster.watch("P1", 10 * SECOND, |this| this.answered_by(without))?;
    cluster.crash(with[1], None);
    cluster.wait_until("P1", 2 * SECOND, |this| this.elsewhere(without))?;
    cluster.run_for(5 * SECOND)?;
    cluster.stand(without[0], hold_for(60));
    cluster.power_on(with[1]);
    cluster.run_for(10 * SECOND)?;
    cluster.mark();
    cluster.watch("P1", 40 * SECOND, |this| this.not_empty(with[1]))?;
    cluster.wait_until("P1", RESTORED_WITHIN, |this| this.elsewhere(&with[1..]))?;
    cluster.expect_moves("P1", 8)?;
    cluster.power_on(with[0]);
    cluster.wait_until("P1", 2 * RESTORED_WITHIN, |this| this.uneven(with[0], with[1]))?;
    cluster.expect_outage("P1", HANDED_OVER_WITHIN)?;
    cluster.expect(
        "P1",
        cluster.answered_by(without).is_none(),
        "one without the card has some",
    )?;
    Ok(())
}

/// The same where the last resort is to let go: nobody answers without the card.
pub(crate) fn label_required_or_nobody(broken: Option<Rule>) -> Outcome {
    let mut cluster = ruled(calm(4, 8, broken), two_have_the_card_or_nobody);
    let hosts = cluster.in_order();
    let (with, without) = hosts.split_at(2);
    cluster.wait_until("P2", 10 * SECOND, |this| this.elsewhere(with))?;
    cluster.crash(with[0], None);
    cluster.wait_until("P2", 2 * SECOND, |this| this.elsewhere(&with[1..]))?;
    cluster.crash(with[1], None);
    cluster.watch("P2", 20 * SECOND, |this| this.answered_by(without))?;
    cluster.power_on(with[1]);
    cluster.wait_until("P2", 20 * SECOND, |this| this.elsewhere(&with[1..]))?;
    Ok(())
}

/// Labels are rolled out host by host, beginning with one that lacks them, then with one that has
/// them: every group moves once at most, and no host without the card has one in the end.
pub(crate) fn labels_rolled_out(broken: Option<Rule>) -> Outcome {
    for backwards in [false, true] {
        let mut cluster = Cluster::settled(calm(4, 8, broken))?;
        let mut hosts = cluster.in_order();
        let without = hosts[2..].to_vec();
        if backwards {
            hosts.reverse();
        }
        let after =
            crate::plan::Plan { adjust: Some(two_have_the_card), ..cluster.plans[0].clone() };
        cluster.plans.push(after);
        for host in hosts {
            cluster.adopt(host, 1);
            cluster.run_for(20 * SECOND)?;
        }
        cluster.run_for(RESTORED_WITHIN)?;
        cluster.expect("P3", cluster.answered_by(&without).is_none(), "still without the card")?;
        cluster.expect_moves("P3", 8)?;
        cluster.expect_outage("P3", HANDED_OVER_WITHIN)?;
    }
    Ok(())
}
