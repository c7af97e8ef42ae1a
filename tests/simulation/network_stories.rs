//! Stories of networks: loss, cuts, splits, links (H1 to H9, H33 to H45, H67 and H68 in
//! docs/invariants.md).

use buoy::protocol::{Attachment, KernelEvent, Order, Rule};

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::network::Weather;
use crate::options::Options;
use crate::story::{Outcome, calm};

/// Who is deaf or mute is relieved within this: detection, a test of reach, and some.
const RELIEVED_WITHIN: u64 = 700 * MILLISECOND;
/// A group handed over is away for no longer than this.
const HANDED_OVER_WITHIN: u64 = 20 * MILLISECOND;
/// After a heal: three heartbeats, and what letting go takes.
const ONE_OWNER_WITHIN: u64 = 400 * MILLISECOND;
/// After a heal, every client is right.
const CACHES_WITHIN: u64 = 500 * MILLISECOND;

/// H1: ten minutes in a network that loses each fiftieth datagram. Nothing ever moves.
pub(crate) fn steady_loss(broken: Option<Rule>) -> Outcome {
    let weather = Weather { loss: 20_000, ..Weather::fair() };
    let mut cluster = Cluster::settled(Options { weather, ..calm(3, 6, broken) })?;
    cluster.run_for(600 * SECOND)?;
    cluster.expect_moves("H1", 0)?;
    Ok(())
}

/// H1: a pair in a network that loses each twentieth datagram, so that three heartbeats in a row
/// get lost every few minutes. Nobody is accused without being asked; the one without a group has
/// no kernel that would answer for it.
pub(crate) fn lossy_pair(broken: Option<Rule>) -> Outcome {
    let weather = Weather { loss: 50_000, ..Weather::fair() };
    let mut cluster = Cluster::settled(Options { weather, ..calm(2, 1, broken) })?;
    cluster.run_for(1_200 * SECOND)?;
    cluster.expect_moves("H1", 0)?;
    cluster.expect("H1", cluster.safety.accusations == 0, "somebody was accused")?;
    Ok(())
}

/// H1: a pair in a network that loses three of ten datagrams for twenty seconds, ARP included, forty
/// times. Three heartbeats in a row get lost every few seconds, and nobody is taken for dead.
pub(crate) fn heavy_loss(broken: Option<Rule>) -> Outcome {
    for seed in 0..40 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(2, 1, broken) })?;
        cluster.network.weather.loss = 300_000;
        cluster.run_for(20 * SECOND)?;
        cluster.expect_moves("H1", 0)?;
        cluster.expect("H1", cluster.safety.accusations == 0, "somebody was accused")?;
    }
    Ok(())
}

/// H2: half a second in which the owner's switch port loses nearly everything. The group may be
/// taken over once, and that is all.
pub(crate) fn burst(broken: Option<Rule>) -> Outcome {
    for seed in 0..10 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(3, 1, broken) })?;
        let owner = cluster.owner(0);
        cluster.deafen(owner);
        cluster.mute(owner);
        cluster.run_for(500 * MILLISECOND)?;
        cluster.heal();
        cluster.run_for(20 * SECOND)?;
        cluster.expect_moves("H2", 1)?;
        cluster.wait_until("H2", SECOND, Cluster::unwell)?;
    }
    Ok(())
}

/// H4: one of three does not hear one other, whom the third hears. Nobody is dead, nothing moves.
pub(crate) fn one_way_cut(broken: Option<Rule>) -> Outcome {
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        let mut cluster = Cluster::settled(calm(3, 6, broken))?;
        cluster.cut(from, to);
        cluster.watch("H4", 20 * SECOND, Cluster::condemned)?;
        cluster.expect_moves("H4", 0)?;
    }
    // One that has nothing: no kernel can be asked, only the others know that it lives.
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        let mut cluster = Cluster::settled(calm(3, 6, broken))?;
        cluster.order(from, Order::Drain(cluster.hosts[from].id));
        cluster.run_for(5 * SECOND)?;
        cluster.cut(from, to);
        cluster.watch("H4", 20 * SECOND, Cluster::condemned)?;
    }
    Ok(())
}

/// Two answer for a moment, and clients are told by the one that has it.
const HEARS_AGAIN_WITHIN: u64 = 60 * MILLISECOND;

/// H5: an owner sends but hears nobody, clients neither. Others relieve it soon; it announces
/// nothing for as long as it is deaf, not even the refresh, so clients stay with the others.
pub(crate) fn deaf_owner(broken: Option<Rule>) -> Outcome {
    for (seed, nodes) in (0..20).flat_map(|seed| [(seed, 3), (seed, 5)]) {
        let mut cluster = Cluster::settled(Options { seed, ..calm(nodes, 6, broken) })?;
        let owner = cluster.owner(0);
        cluster.deafen(owner);
        cluster.wait_until("H5", RELIEVED_WITHIN, Cluster::misled)?;
        cluster.run_for(SECOND)?;
        cluster.expect_outage("H5", RELIEVED_WITHIN)?;
        cluster.mark();
        cluster.run_for(70 * SECOND)?;
        cluster.expect_outage("H5", HANDED_OVER_WITHIN)?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// H5: a deaf owner hears again. It is told by somebody outside the cluster before it hears a
/// peer: still it accuses nobody, and does not speak last for what others have taken.
pub(crate) fn deaf_owner_hears_again(broken: Option<Rule>) -> Outcome {
    for seed in 0..60 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(3, 6, broken) })?;
        let owner = cluster.owner(0);
        cluster.deafen(owner);
        cluster.wait_until("H5", RELIEVED_WITHIN, Cluster::misled)?;
        cluster.run_for((400 + 7 * seed) * MILLISECOND)?;
        cluster.mark();
        let before = cluster.safety.accusations;
        cluster.heal();
        cluster.run_for(3 * SECOND)?;
        cluster.expect_outage("H5", HEARS_AGAIN_WITHIN)?;
        cluster.expect("H5", cluster.safety.accusations == before, "it accuses those who live")?;
        cluster.settle()?;
    }
    Ok(())
}

/// H6: an owner hears everybody, nobody hears it. Others relieve it soon, and it lets go.
pub(crate) fn mute_owner(broken: Option<Rule>) -> Outcome {
    for nodes in [3, 5] {
        let mut cluster = Cluster::settled(calm(nodes, 6, broken))?;
        let owner = cluster.owner(0);
        cluster.mute(owner);
        cluster.wait_until("H6", RELIEVED_WITHIN, Cluster::misled)?;
        cluster.wait_until("H6", SECOND, |this| this.not_empty(owner))?;
        cluster.watch("H6", 20 * SECOND, |this| this.not_empty(owner))?;
        cluster.expect_outage("H6", RELIEVED_WITHIN)?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// H7: A and C do not hear each other, B hears both. Every group keeps its one owner; and when A
/// dies then, its groups have one owner again, wherever their heirs are.
pub(crate) fn bridge(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 6, broken))?;
    cluster.cut(0, 2);
    cluster.cut(2, 0);
    cluster.watch("H7", 20 * SECOND, Cluster::uncovered)?;
    cluster.expect_moves("H7", 0)?;
    cluster.crash(0, None);
    cluster.wait_until("H7", SECOND, Cluster::uncovered)?;
    cluster.watch("H7", 5 * SECOND, Cluster::uncovered)?;
    Ok(())
}

/// H7: as [`bridge`], with a fourth that dies. A and C do not hear each other take its groups.
pub(crate) fn bridge_and_death(broken: Option<Rule>) -> Outcome {
    for dead in [1, 3] {
        let mut cluster = Cluster::settled(calm(4, 12, broken))?;
        cluster.cut(0, 2);
        cluster.cut(2, 0);
        cluster.run_for(5 * SECOND)?;
        cluster.crash(dead, None);
        cluster.watch("H7", SECOND, Cluster::doubled)?;
        cluster.watch("H7", 5 * SECOND, Cluster::uncovered)?;
    }
    Ok(())
}

/// H6: a node falls mute just before an owner dies that has named it as heir. It does not take:
/// nobody would hear that it has.
pub(crate) fn mute_heir(broken: Option<Rule>) -> Outcome {
    for (mute, dies) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        let mut cluster = Cluster::settled(calm(3, 6, broken))?;
        cluster.mute(mute);
        cluster.run_for(150 * MILLISECOND)?;
        cluster.crash(dies, None);
        cluster.run_for(SECOND)?;
        cluster.watch("H6", 10 * SECOND, |this| this.not_empty(mute))?;
        cluster.expect("H6", cluster.uncovered().is_none(), "all is not covered")?;
    }
    Ok(())
}

/// H8, H9: five fall into two and three. Each side covers its clients; after the heal each group
/// has one owner, of the larger side, and clients of both sides find it.
pub(crate) fn split_and_heal(broken: Option<Rule>) -> Outcome {
    for seed in 0..20 {
        let mut cluster = Cluster::settled(Options { seed, clients: 2, ..calm(5, 10, broken) })?;
        cluster.split(&[0, 1], &[0]);
        cluster.wait_until("H8", 2 * SECOND, Cluster::misled)?;
        cluster.run_for((3 + seed % 5) * SECOND)?;
        cluster.heal();
        cluster.wait_until("H9", ONE_OWNER_WITHIN, Cluster::uncovered)?;
        let moved = (0..10).find(|group| cluster.owner(*group) < 2);
        cluster.expect("H9", moved.is_none(), &format!("the two have {moved:?}"))?;
        cluster.wait_until("H9", CACHES_WITHIN - ONE_OWNER_WITHIN, Cluster::misled)?;
        cluster.settle()?;
    }
    Ok(())
}

/// H8, H9 of two: each takes all, and after the heal each group has one owner and one cache.
pub(crate) fn split_of_two(broken: Option<Rule>) -> Outcome {
    for seed in 0..5 {
        let mut cluster = Cluster::settled(Options { seed, clients: 2, ..calm(2, 6, broken) })?;
        cluster.split(&[0], &[0]);
        cluster.wait_until("H8", 2 * SECOND, Cluster::misled)?;
        cluster.run_for(5 * SECOND)?;
        cluster.heal();
        cluster.wait_until("H9", ONE_OWNER_WITHIN, Cluster::uncovered)?;
        cluster.wait_until("H9", CACHES_WITHIN - ONE_OWNER_WITHIN, Cluster::misled)?;
        cluster.settle()?;
    }
    Ok(())
}

/// H33: the owner dies, and all announcements of the first second are lost. A repeat finds the
/// clients before they ask by themselves.
pub(crate) fn announcements_lost(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 6, broken))?;
    let owner = cluster.owner(0);
    cluster.network.weather.announcement_loss = 1_000_000;
    cluster.crash(owner, None);
    cluster.run_for(1_200 * MILLISECOND)?;
    cluster.network.weather.announcement_loss = 0;
    cluster.wait_until("H33", SECOND, Cluster::misled)?;
    Ok(())
}

/// H35: the loser of a split speaks last, while the winner thinks that all is said. Its clients
/// are taken back by a repeat.
pub(crate) fn loser_speaks_last(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(Options { clients: 2, ..calm(3, 3, broken) })?;
    cluster.split(&[0], &[0]);
    cluster.run_for(5 * SECOND)?;
    cluster.heal();
    cluster.wait_until("H35", ONE_OWNER_WITHIN, Cluster::uncovered)?;
    cluster.run_for(20 * MILLISECOND)?;
    let now = cluster.now;
    for group in 0..3 {
        cluster.clients[1].hear_announcement(now, group, 0);
    }
    cluster.wait_until("H35", 2 * SECOND, Cluster::misled)?;
    Ok(())
}

/// H67: a conflicting host has spoilt a cache that nobody looks after. The refresh mends it.
pub(crate) fn spoilt_cache(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 3, broken))?;
    let wrong = cluster.other_than(&[cluster.owner(0)]);
    let now = cluster.now;
    cluster.clients[0].hear_announcement(now, 0, wrong);
    cluster.wait_until("H67", 67 * SECOND, Cluster::misled)?;
    Ok(())
}

/// H68: old clients ignore updates within a second of the last. A repeat still finds them.
pub(crate) fn old_clients(broken: Option<Rule>) -> Outcome {
    let options = Options { locktime: true, clients: 3, ..calm(3, 6, broken) };
    let mut cluster = Cluster::settled(options)?;
    cluster.split(&[0], &[0]);
    cluster.run_for(5 * SECOND)?;
    cluster.heal();
    cluster.wait_until("H68", 3 * SECOND, Cluster::misled)?;
    Ok(())
}

/// H41: an owner's interface is deleted, and made again ten seconds later. Others take its groups
/// at once, and it takes nothing back by itself.
pub(crate) fn interface_deleted(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(Options { paths: 2, ..calm(3, 6, broken) })?;
    let owner = cluster.owner(0);
    cluster.remove_interface(owner);
    cluster.run_for(10 * SECOND)?;
    cluster.expect_outage("H41", 150 * MILLISECOND)?;
    cluster.watch("H41", SECOND, Cluster::uncovered)?;
    cluster.heal();
    cluster.settle()?;
    Ok(())
}

/// H42: somebody removes an address. It is back soon, at the same host, and announced.
pub(crate) fn address_removed(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 3, broken))?;
    let owner = cluster.owner(0);
    cluster.remove_address(owner, 0);
    let now = cluster.now;
    let wrong = cluster.other_than(&[owner]);
    cluster.clients[0].hear_announcement(now, 0, wrong);
    cluster.wait_until("H42", 100 * MILLISECOND, Cluster::misled)?;
    cluster.run_for(10 * SECOND)?;
    cluster.expect_moves("H42", 0)?;
    cluster.expect_outage("H42", 100 * MILLISECOND)?;
    Ok(())
}

/// The guardian of the last node takes its addresses away again and again, because the host stands
/// still at times. Nobody is blamed for it, and the group stays.
pub(crate) fn guardian_acts_often(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(1, 3, broken))?;
    for _ in 0..7 {
        cluster.guardian_removes(0, 0);
        cluster.run_for(3 * SECOND)?;
    }
    cluster.expect_outage("L1", 100 * MILLISECOND)?;
    Ok(())
}

/// H44: the data cable of an owner is pulled while a second path for heartbeats lives. It says so,
/// and clients wait for a tenth of a second at most.
pub(crate) fn link_down_second_path(broken: Option<Rule>) -> Outcome {
    for seed in 0..5 {
        let mut cluster = Cluster::settled(Options { seed, paths: 2, ..calm(3, 6, broken) })?;
        let owner = cluster.owner(0);
        cluster.pull_link(owner);
        cluster.wait_until("H44", 100 * MILLISECOND, Cluster::misled)?;
        cluster.run_for(10 * SECOND)?;
        cluster.expect_outage("H44", 100 * MILLISECOND)?;
        cluster.wait_until("H44", SECOND, |this| this.holds_any(owner))?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// An owner's host loses its own address in the network of its groups while its link stays up, as
/// when its lease of DHCP ends. It lets go while others are there, and is no heir until it is back.
pub(crate) fn network_lost(broken: Option<Rule>) -> Outcome {
    for seed in 0..3 {
        let mut cluster = Cluster::settled(Options { seed, ..calm(3, 6, broken) })?;
        let owner = cluster.owner(0);
        cluster.lose_network(owner, Attachment::Lost);
        cluster.run_for(SECOND)?;
        cluster.expect("J4", cluster.holds_any(owner).is_none(), "it has not let go")?;
        cluster.expect_outage("J4", 100 * MILLISECOND)?;
        cluster.run_for(10 * SECOND)?;
        cluster.expect("J4", cluster.holds_any(owner).is_none(), "it has taken them again")?;
        cluster.lose_network(owner, Attachment::Attached);
        cluster.settle()?;
    }
    Ok(())
}

/// J4: the only address of an owner's host is removed. It hears nobody from then on; for half a second it is
/// heard, so the others take what it lets go and need not find it dead.
pub(crate) fn own_address_gone(broken: Option<Rule>) -> Outcome {
    for (seed, nodes) in (0..10).flat_map(|seed| [(seed, 2), (seed, 3)]) {
        let mut cluster = Cluster::settled(Options { seed, ..calm(nodes, 6, broken) })?;
        let owner = cluster.owner(0);
        cluster.deafen(owner);
        cluster.run_for(20 * MILLISECOND)?;
        cluster.lose_network(owner, Attachment::Lost);
        cluster.run_for(480 * MILLISECOND)?;
        cluster.mute(owner);
        cluster.run_for(10 * SECOND)?;
        cluster.expect_outage("J4", 60 * MILLISECOND)?;
        cluster.expect("J4", cluster.holds_any(owner).is_none(), "it has taken them again")?;
        cluster.heal();
        cluster.lose_network(owner, Attachment::Attached);
        cluster.settle()?;
    }
    Ok(())
}

/// H45: the only cable of an owner is pulled, and is back when others have taken its groups. It
/// has let go, and leaves clients alone.
pub(crate) fn link_back(broken: Option<Rule>) -> Outcome {
    for length in [450, 600, 1_000, 5_000] {
        for nodes in [2, 3] {
            let mut cluster = Cluster::settled(calm(nodes, 6, broken))?;
            let owner = cluster.owner(0);
            cluster.pull_link(owner);
            cluster.run_for(length * MILLISECOND)?;
            cluster.expect_outage("H45", 450 * MILLISECOND)?;
            cluster.expect("H45", cluster.holds_any(owner).is_none(), "it has not let go")?;
            cluster.heal();
            cluster.mark();
            cluster.watch("H45", 5 * SECOND, Cluster::doubled)?;
            cluster.expect_outage("H45", HANDED_OVER_WITHIN)?;
            cluster.settle()?;
        }
    }
    Ok(())
}

/// H41, H45: the link of a node that is alone goes down and comes back. It lets go meanwhile,
/// listens again, and then serves its clients again.
pub(crate) fn alone_link_down_and_up(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(2, 4, broken))?;
    cluster.crash(1, None);
    cluster.wait_until("H41", SECOND, Cluster::misled)?;
    cluster.run_for(5 * SECOND)?;
    cluster.pull_link(0);
    cluster.wait_until("H41", SECOND, |this| this.holds_any(0))?;
    cluster.run_for(10 * SECOND)?;
    cluster.network.link_up(0);
    cluster.link_changed(0);
    cluster.watch("H45", 500 * MILLISECOND, |this| this.holds_any(0))?;
    cluster.wait_until("H45", 10 * SECOND, Cluster::uncovered)?;
    Ok(())
}

/// H30: the data cable of one flaps sixteen times, heartbeats have a second path. It is given groups
/// again once or twice, and then no more until its link has been quiet for a minute.
pub(crate) fn flapping_link(broken: Option<Rule>) -> Outcome {
    for nodes in [2, 3] {
        let mut cluster = Cluster::settled(Options { paths: 2, ..calm(nodes, 3, broken) })?;
        let flaps = cluster.owner(0);
        let held = u64::try_from(cluster.groups_of(flaps).len()).expect("few");
        for _ in 0..16 {
            cluster.pull_link(flaps);
            cluster.run_for(2 * SECOND)?;
            cluster.network.link_up(flaps);
            cluster.link_changed(flaps);
            cluster.run_for(4 * SECOND)?;
        }
        // Away, back, away, back, and away for good.
        cluster.expect_moves("H30", 5 * held)?;
        cluster.run_for(60 * SECOND)?;
        cluster.heal();
        cluster.settle()?;
    }
    Ok(())
}

/// The smaller side of a split takes every group, and its link goes down: what it writes last, under
/// later epochs than those of the owners, is that all groups are free. When the split heals the owners
/// go on, and nobody takes what they have (seeds 24659 and 42729).
pub(crate) fn freed_in_a_split(broken: Option<Rule>) -> Outcome {
    for seed in 0..10 {
        let mut cluster = Cluster::settled(Options { seed, clients: 2, ..calm(3, 6, broken) })?;
        cluster.split(&[2], &[0]);
        cluster.wait_until("S10", 5 * SECOND, |this| {
            (this.groups_of(2).len() < 6).then(|| "n2 has not taken everything".to_owned())
        })?;
        cluster.run_for(SECOND)?;
        for key in cluster.groups.clone() {
            cluster.tell_soon(2, KernelEvent::Usable { group: key, usable: false });
        }
        cluster.wait_until("S10", SECOND, |this| this.not_empty(2))?;
        cluster.mark();
        cluster.heal();
        cluster.watch("S10", 5 * SECOND, Cluster::uncovered)?;
        cluster.expect_moves("S10", 0)?;
        cluster.wait_until("S10", SECOND, Cluster::misled)?;
    }
    Ok(())
}
