//! Stories of the rules of placement: labels that a pool requires, pools that are kept apart and
//! together, while hosts die and come back, and while an operator holds.

use buoy::protocol::{Configuration, LastResort, NodeId, Order, Placement, PoolId, Rule};

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
    Placement { lacking: lacking.collect(), ..Placement::default() }
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

fn shop() -> PoolId {
    PoolId::from_name("shop")
}

fn mail() -> PoolId {
    PoolId::from_name("mail")
}

/// The groups of the shop are apart from each other.
fn shop_is_apart(it: &mut Configuration) {
    let apart_from = [shop()].into();
    it.placement.insert(shop(), Placement { apart_from, ..Placement::default() });
}

/// The shop and mail are apart.
fn shop_and_mail_are_apart(it: &mut Configuration) {
    for (pool, other) in [(shop(), mail()), (mail(), shop())] {
        let apart_from = [other].into();
        it.placement.insert(pool, Placement { apart_from, ..Placement::default() });
    }
}

/// The shop and mail are together.
fn shop_and_mail_are_together(it: &mut Configuration) {
    for pool in [shop(), mail()] {
        let together_with = [shop(), mail()].into();
        it.placement.insert(pool, Placement { together_with, ..Placement::default() });
    }
}

impl Cluster {
    /// Puts the first groups into the shop and the next ones into mail, in the first file.
    fn stocked(mut self, shops: usize, mails: usize) -> Self {
        let keys = self.groups.clone();
        for (place, key) in keys.iter().enumerate().take(shops + mails) {
            let group = self.plans[0].groups.get_mut(key).expect("it is configured");
            group.pool = if place < shops { shop() } else { mail() };
        }
        self
    }

    /// Hosts that answer for one of these groups.
    fn hosts_of(&self, groups: std::ops::Range<usize>) -> Vec<usize> {
        let mut hosts: Vec<usize> = groups.flat_map(|group| self.open[group].clone()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// A host that answers for groups of both ranges.
    fn shared(&self, shops: usize, mails: usize) -> Option<String> {
        let (one, other) = (self.hosts_of(0..shops), self.hosts_of(shops..shops + mails));
        let both = one.iter().find(|host| other.contains(host))?;
        Some(format!("n{both} has {:?}", self.groups_of(*both)))
    }

    /// The first groups are at fewer than so many hosts.
    fn crowded(&self, groups: usize, hosts: usize) -> Option<String> {
        let found = self.hosts_of(0..groups);
        (found.len() < hosts).then(|| format!("{groups} groups are at {found:?}"))
    }

    /// The first groups are at more than one host, or not all are answered for.
    fn scattered(&self, groups: usize) -> Option<String> {
        let found = self.hosts_of(0..groups);
        self.uncovered().or_else(|| (found.len() != 1).then(|| format!("they are at {found:?}")))
    }

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

/// Three groups that are apart from each other, and three others, at three hosts: one at each. Two
/// hosts die, one after the other: the last one serves all. When they are back there is one at each.
pub(crate) fn kept_apart(broken: Option<Rule>) -> Outcome {
    let mut cluster = ruled(calm(3, 6, broken), shop_is_apart).stocked(3, 0);
    cluster.wait_until("P4", RESTORED_WITHIN, |this| this.uncovered().or(this.crowded(3, 3)))?;
    cluster.run_for(10 * SECOND)?;
    cluster.mark();
    cluster.watch("P4", 150 * SECOND, |this| this.crowded(3, 3))?;
    cluster.expect_moves("P4", 2)?;
    cluster.crash(0, None);
    cluster.wait_until("P4", 2 * SECOND, Cluster::uncovered)?;
    cluster.expect("P4", cluster.crowded(3, 2).is_none(), "both died with one")?;
    cluster.crash(1, None);
    cluster.wait_until("P4", 2 * SECOND, Cluster::uncovered)?;
    cluster.run_for(5 * SECOND)?;
    cluster.power_on(0);
    cluster.power_on(1);
    cluster.wait_until("P4", 2 * RESTORED_WITHIN, |this| this.crowded(3, 3))?;
    cluster.run_for(RESTORED_WITHIN)?;
    cluster.mark();
    cluster.watch("P4", 150 * SECOND, |this| this.crowded(3, 3))?;
    cluster.expect_moves("P4", 2)?;
    Ok(())
}

/// Two pools that are apart, each of three groups. Any of the hosts dies: soon no other shares them
/// either. With one host left it serves both.
pub(crate) fn two_pools_kept_apart(broken: Option<Rule>) -> Outcome {
    for victim in 0..3 {
        let mut cluster = ruled(calm(3, 6, broken), shop_and_mail_are_apart).stocked(3, 3);
        let apart = |this: &Cluster| this.uncovered().or(this.shared(3, 3));
        cluster.wait_until("P5", 2 * RESTORED_WITHIN, apart)?;
        cluster.run_for(10 * SECOND)?;
        cluster.watch("P5", 70 * SECOND, |this| this.shared(3, 3))?;
        cluster.crash(victim, None);
        cluster.wait_until("P5", 2 * SECOND, Cluster::uncovered)?;
        cluster.wait_until("P5", 2 * RESTORED_WITHIN, apart)?;
        let next = cluster.other_than(&[victim]);
        cluster.crash(next, None);
        cluster.wait_until("P5", 2 * SECOND, Cluster::uncovered)?;
        cluster.power_on(victim);
        cluster.wait_until("P5", 2 * RESTORED_WITHIN, apart)?;
    }
    Ok(())
}

/// Two pools that are together, beside other groups. They begin at one host; it dies, and the next
/// has all of them; that one drains, and the third has all of them.
pub(crate) fn kept_together(broken: Option<Rule>) -> Outcome {
    let mut cluster = ruled(calm(3, 9, broken), shop_and_mail_are_together).stocked(2, 2);
    cluster.wait_until("P6", RESTORED_WITHIN, |this| this.scattered(4))?;
    cluster.run_for(10 * SECOND)?;
    cluster.mark();
    cluster.watch("P6", 150 * SECOND, |this| this.scattered(4))?;
    cluster.expect_moves("P6", 4)?;
    let first = cluster.owner(0);
    cluster.crash(first, None);
    cluster.wait_until("P6", 2 * SECOND, |this| this.scattered(4))?;
    cluster.run_for(10 * SECOND)?;
    let next = cluster.owner(0);
    let id = cluster.hosts[next].id;
    cluster.order(next, Order::Drain(id));
    cluster.wait_until("P6", 5 * SECOND, |this| this.not_empty(next))?;
    cluster.wait_until("P6", SECOND, |this| this.scattered(4))?;
    cluster.order(next, Order::Undrain(id));
    cluster.power_on(first);
    cluster.run_for(RESTORED_WITHIN)?;
    cluster.watch("P6", 70 * SECOND, |this| this.scattered(4))?;
    Ok(())
}
