//! The rule as tables: what is measured, and what is proposed and in force then.

use super::*;

const FAST: TimingLevel = TimingLevel::FASTEST;
const LAN: TimingLevel = TimingLevel::LAN;
const VM: TimingLevel = TimingLevel::SLOWEST;

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn secs(count: u64) -> Instant {
    Instant::from_millis(count * 1000)
}

fn around() -> Surroundings {
    Surroundings {
        datagrams: 2,
        quiet: true,
        slowest: None,
        slowest_counts: true,
        tightens_slowly: true,
        worst_kept: true,
        outages_excused: true,
    }
}

/// A rule that proposes this, and follows only itself.
fn at(level: TimingLevel) -> AdaptiveTiming {
    AdaptiveTiming::new(secs(0), (level, level))
}

/// Looks once each second, and returns what was in force at the end of each.
fn run(it: &mut AdaptiveTiming, seconds: std::ops::Range<u64>, around: Surroundings) {
    for second in seconds {
        let _ = it.revise(secs(second), around);
    }
}

#[test]
fn the_levels_are_those_of_the_table() {
    let row = |level: TimingLevel| {
        let timing = level.timing();
        let lengths = [timing.heartbeat, timing.detection(), level.bearable(), level.calm()];
        lengths.map(|length| length.as_millis())
    };
    let rows: Vec<_> = TimingLevel::all().map(row).collect();
    let expected = [
        [20, 80, 30, 15],
        [50, 150, 50, 25],
        [100, 300, 100, 50],
        [200, 600, 200, 100],
        [500, 2000, 750, 375],
    ];
    assert_eq!(rows, expected);
    let protocol = include_str!("../PROTOCOL.md");
    for [heartbeat, detection, bears, calm] in expected {
        let row = format!("| {heartbeat} ms | {detection} ms | {bears} ms | {calm} ms |");
        assert!(protocol.contains(&row), "PROTOCOL.md does not have: {row}");
    }
}

#[test]
fn a_lateness_is_answered_with_the_level_that_bears_it() {
    let table = [
        // At this level, late by so many milliseconds: proposes this.
        (FAST, 15, 0),
        (FAST, 30, 0),
        (FAST, 31, 1),
        (FAST, 51, 2),
        (FAST, 101, 3),
        (FAST, 200, 3),
        (FAST, 201, 2),
        (FAST, 2000, 2),
        (FAST, 2001, 0),
        (LAN, 31, 2),
        (LAN, 100, 2),
        (LAN, 101, 3),
        (LAN, 60_000, 2),
        (VM, 1999, 4),
    ];
    for (level, late, expected) in table {
        let mut it = at(level);
        it.note_loop(secs(1), millis(late));
        assert_eq!(it.proposal().level.number(), expected, "{level:?} late by {late} ms");
        let changed = expected != level.number();
        let reason = if changed { TimingReason::Loop } else { TimingReason::NotLongCalm };
        assert_eq!(it.proposal().reason, reason);
        let changes = it.revise(secs(1), around());
        let from = changed.then_some(level);
        assert_eq!(changes, Changes { from, slower: changed }, "at once");
    }
}

#[test]
fn minutes_of_calm_make_it_faster_by_one_level() {
    let mut it = at(LAN);
    run(&mut it, 0..300, around());
    assert_eq!(it.level(), LAN);
    run(&mut it, 300..301, around());
    assert_eq!((it.proposal().level.number(), it.level()), (1, LAN));
    run(&mut it, 301..311, around());
    assert_eq!(it.level().number(), 1, "ten seconds later it is in force");
    run(&mut it, 311..600, around());
    assert_eq!(it.proposal().level.number(), 1);
    run(&mut it, 600..620, around());
    assert_eq!(it.level(), FAST);
    assert_eq!(it.proposal().reason, TimingReason::Fastest);
}

#[test]
fn what_is_too_late_for_the_next_level_begins_the_calm_again() {
    for (late, begins_again) in [(25, false), (26, true)] {
        let mut it = at(LAN);
        run(&mut it, 0..200, around());
        it.note_spacing(secs(200), millis(late));
        run(&mut it, 200..310, around());
        assert_eq!(it.proposal().level == LAN, begins_again, "{late} ms");
        run(&mut it, 310..501, around());
        assert_eq!(it.proposal().level.number(), 1, "{late} ms");
    }
}

#[test]
fn nothing_gets_faster_while_anything_is_suspected() {
    let mut it = at(LAN);
    run(&mut it, 0..5000, Surroundings { quiet: false, ..around() });
    assert_eq!(it.proposal().level, LAN);
    let mut it = AdaptiveTiming::new(secs(0), (VM, LAN));
    run(&mut it, 0..200, Surroundings { quiet: false, ..around() });
    assert_eq!(it.level(), VM, "what was held back by a peer that is gone");
    run(&mut it, 200..210, around());
    assert_eq!(it.level(), VM);
    run(&mut it, 210..211, around());
    assert_eq!(it.level().number(), 3);
    run(&mut it, 211..222, around());
    assert_eq!(it.level(), LAN);
}

#[test]
fn the_slowest_peer_decides_at_once() {
    let mut it = at(FAST);
    let slow = Surroundings { slowest: Some(VM), ..around() };
    let changes = it.revise(secs(1), slow);
    assert_eq!(changes, Changes { from: Some(FAST), slower: true });
    assert_eq!((it.level(), it.proposal().level), (VM, FAST));
    let until = secs(1) + millis(200);
    let former = |it: &AdaptiveTiming, at| it.former(at);
    assert_eq!(former(&it, secs(1)), Some(FAST), "peers may not have heard of it");
    assert_eq!(former(&it, until), None);
}

#[test]
fn a_host_that_is_late_now_and_then_does_not_go_to_and_fro() {
    let mut it = at(LAN);
    let mut changes = 0;
    for second in 0..24 * 3600 {
        if second % 1200 == 1199 {
            it.note_loop(secs(second), millis(90));
        }
        changes += u32::from(it.revise(secs(second), around()).from.is_some());
    }
    assert!(changes <= 8, "{changes} changes in a day");
    assert_eq!(it.level(), LAN);
}

#[test]
fn what_lasted_as_long_as_peers_wait_is_remembered_for_days() {
    // At this level, the loop or a peer late by so much: whether nothing faster than `lan` follows.
    let table = [
        (FAST, 60, false),
        (FAST, 61, true),
        (LAN, 200, false),
        (LAN, 201, true),
        (VM, 1500, false),
        (VM, 1501, true),
        (FAST, 2000, true),
        (FAST, 2001, false),
    ];
    for (level, late, kept) in table {
        for by_loop in [true, false] {
            let mut it = at(level);
            let note =
                if by_loop { AdaptiveTiming::note_loop } else { AdaptiveTiming::note_spacing };
            note(&mut it, secs(1), millis(late));
            run(&mut it, 1..30_000, around());
            assert_eq!(it.level() == LAN, kept, "{level:?} late by {late} ms");
            let reason = it.proposal().reason;
            assert_eq!(reason == TimingReason::Fastest, !kept, "{reason:?}");
            let Some(left) = it.faster_in(secs(30_000), 2).filter(|_| kept) else { continue };
            assert_eq!(secs(30_000) + left, secs(1) + WORST_KEPT, "status says until when");
            assert_eq!(it.proposal().lateness, millis(late), "status says why");
            let over = 8 * 24 * 3600 + 2;
            run(&mut it, over..over + 700, around());
            assert_eq!(it.level(), FAST, "and it is as fast as before");
        }
    }
}

#[test]
fn a_host_that_stands_still_each_day_is_too_late_once_a_week() {
    let mut it = at(LAN);
    let mut harmed = 0;
    for minute in 0..30 * 24 * 60 {
        if minute % (24 * 60) == 180 {
            harmed += u32::from(millis(150) > it.level().spare());
            it.note_loop(secs(minute * 60), millis(150));
        }
        run(&mut it, minute * 60..minute * 60 + 1, around());
    }
    assert_eq!(harmed, 4, "times in a month that peers would not have waited");
}

#[test]
fn what_lan_would_not_have_borne_makes_it_slower_than_lan_when_it_happens_again() {
    // Seconds between two times of 500 ms: the level then.
    for (apart, expected) in [(1, 2), (9, 2), (10, 4), (4799, 4), (4800, 2)] {
        let mut it = at(FAST);
        it.note_loop(secs(1), millis(500));
        let changes = it.revise(secs(1), around());
        assert_eq!((it.level(), changes.slower), (LAN, true), "at once");
        it.note_spacing(secs(1 + apart), millis(500));
        let _ = it.revise(secs(1 + apart), around());
        assert_eq!(it.level().number(), expected, "{apart} s apart");
    }
}

#[test]
fn one_time_of_trouble_doubles_the_calm_once() {
    let mut it = at(FAST);
    it.note_loop(secs(1), millis(31));
    assert_eq!(it.calm, CALM_MIN, "nothing faster had been tried");
    run(&mut it, 1..400, around());
    assert_eq!(it.level(), FAST);
    for (second, late) in [(400, 31), (401, 51), (402, 101), (403, 150)] {
        it.note_spacing(secs(second), millis(late));
        let _ = it.revise(secs(second), around());
    }
    assert_eq!((it.level().number(), it.calm), (3, 2 * CALM_MIN));
}

#[test]
fn a_lost_datagram_is_borne_at_every_level() {
    for level in TimingLevel::all() {
        // Asked for half an interval later, and answered after 5 ms.
        let mut it = at(level);
        it.note_spacing(secs(1), level.timing().heartbeat / 2 + millis(5));
        assert_eq!(it.proposal().level, level);
        // What is normal at the level in force says nothing against a faster one.
        let mut it = AdaptiveTiming::new(secs(0), (VM, level));
        it.note_spacing(secs(1), millis(250));
        assert_eq!(it.proposal().level, level);
    }
}

#[test]
fn a_large_cluster_does_not_send_too_much() {
    let table = [(1, 0), (16, 0), (17, 1), (40, 1), (41, 2), (63, 2), (504, 2)];
    for (datagrams, expected) in table {
        let mut it = at(FAST);
        let _ = it.revise(secs(1), Surroundings { datagrams, ..around() });
        assert_eq!(it.proposal().level.number(), expected, "{datagrams}");
        let mut it = at(LAN);
        run(&mut it, 0..5000, Surroundings { datagrams, ..around() });
        assert_eq!(it.level().number(), expected, "{datagrams}");
        assert_eq!(it.faster_in(secs(5000), datagrams), None);
    }
}

#[test]
fn a_peer_with_fixed_heartbeats_counts_as_the_level_that_is_as_slow() {
    let table = [(20, 4, 0), (10, 2, 0), (20, 5, 1), (100, 3, 2), (100, 4, 3), (10_000, 20, 4)];
    for (interval, misses, expected) in table {
        let level = TimingLevel::of(millis(interval), misses);
        assert_eq!(level.number(), expected, "{interval} ms, {misses}");
    }
}

#[test]
fn who_holds_back_is_this_node_unless_a_peer_is_slower() {
    let it = at(LAN);
    let proposal = |level| TimingProposal { level, ..it.proposal() };
    let peers = [(NodeId(2), LAN), (NodeId(3), FAST), (NodeId(4), VM), (NodeId(5), VM)];
    let peers = peers.map(|(node, level)| (node, proposal(level)));
    let of = |count| it.held_by(NodeId(1), peers.into_iter().take(count)).0;
    assert_eq!((of(0), of(2), of(4)), (NodeId(1), NodeId(1), NodeId(4)));
}
