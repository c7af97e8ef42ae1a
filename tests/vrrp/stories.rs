//! Who speaks when, over time: beginnings, silence, giving and taking, other members.

use std::time::Duration;

use buoy::protocol::Outside;
use buoy::vrrp::{
    Advertisement, Authentication, Form, HOP_LIMIT, MULTICAST_V4, Note, OVERHEARD_MAX, Refusal,
    SPEAKERS_MAX, Settings, Standing, Version, encode,
};

use super::bench::{
    ABOVE, BELOW, Bench, GROUP, HERE, MEMBER, MEMBERS, SECOND, THEIRS, advertisement, packet,
    settings,
};

fn stronger(version: Version) -> Advertisement {
    Advertisement { priority: 200, ..advertisement(&settings(version)) }
}

fn weaker(version: Version) -> Advertisement {
    Advertisement { priority: 100, ..advertisement(&settings(version)) }
}

/// 3 x 1 s and (256 - 150)/256 of 1 s.
const DOWN: Duration = Duration::from_micros(3_414_062);
const SKEW: Duration = Duration::from_micros(414_062);
const LITTLE: Duration = Duration::from_millis(1);

#[test]
fn nothing_is_said_before_one_has_listened() {
    let mut bench = Bench::new(settings(Version::V3));
    bench.stand(Standing::Held);
    bench.pass(DOWN - LITTLE);
    assert_eq!((bench.outside(), bench.priorities()), (Outside::Unknown, vec![]));
    bench.pass(LITTLE * 2);
    assert_eq!((bench.outside(), bench.priorities()), (Outside::Nobody, vec![150]));
}

#[test]
fn a_process_that_goes_on_speaks_at_once() {
    let mut bench = Bench::with(vec![settings(Version::V2)], &[GROUP]);
    bench.stand(Standing::Held);
    assert_eq!((bench.outside(), bench.priorities()), (Outside::Nobody, vec![150]));
}

#[test]
fn the_owner_advertises_in_the_rhythm_that_is_configured() {
    let ours = Settings { interval: Duration::from_millis(900), ..settings(Version::V3) };
    let mut bench = Bench::owner(ours);
    let began = bench.now;
    bench.pass(SECOND * 9);
    let times: Vec<u128> = bench.sent().iter().map(|(at, _)| at.since(began).as_millis()).collect();
    assert_eq!(times, (1..=10).map(|round| round * 900).collect::<Vec<u128>>());
    let (_, last) = bench.sent().pop().unwrap();
    assert_eq!(last, advertisement(bench.router().settings()));
    // After a pause of the process there is one advertisement, and no burst.
    bench.done.clear();
    bench.pause(SECOND * 7);
    bench.pass(Duration::from_millis(899));
    assert_eq!(bench.sent().len(), 1);
}

#[test]
fn a_router_that_prevails_has_the_group_until_it_is_silent() {
    for version in [Version::V2, Version::V3] {
        let mut bench = Bench::owner(settings(version));
        bench.advertised(BELOW, &stronger(version));
        assert_eq!(bench.outside(), Outside::Prevails(Some(THEIRS)));
        bench.stand(Standing::Away);
        bench.pass(DOWN - LITTLE);
        assert_eq!(bench.outside(), Outside::Prevails(Some(THEIRS)));
        bench.advertised(BELOW, &stronger(version));
        bench.pass(DOWN - LITTLE);
        assert_eq!(bench.outside(), Outside::Prevails(Some(THEIRS)), "it spoke again");
        bench.pass(LITTLE * 2);
        assert_eq!((bench.outside(), bench.priorities()), (Outside::Nobody, vec![]));
        assert_eq!(bench.notes(), [Note::Begun(BELOW.into(), 200), Note::Gone(BELOW.into())]);
    }
}

#[test]
fn the_interval_that_is_heard_says_how_long_silence_is() {
    let mut bench = Bench::idle(settings(Version::V3));
    let slow = Advertisement { interval: SECOND * 2, ..stronger(Version::V3) };
    bench.advertised(BELOW, &slow);
    bench.pass(DOWN * 2 - LITTLE);
    assert_eq!(bench.outside(), Outside::Prevails(Some(THEIRS)));
    bench.pass(LITTLE * 2);
    assert_eq!(bench.outside(), Outside::Nobody);
}

#[test]
fn a_router_that_stops_is_followed_at_once() {
    let mut bench = Bench::idle(settings(Version::V3));
    bench.advertised(BELOW, &stronger(Version::V3));
    bench.pass(SECOND);
    bench.advertised(BELOW, &Advertisement { priority: 0, ..stronger(Version::V3) });
    assert_eq!(bench.outside(), Outside::Nobody);
    bench.pass(SKEW - LITTLE);
    bench.advertised(BELOW, &stronger(Version::V3));
    assert_eq!(bench.outside(), Outside::Prevails(Some(THEIRS)), "it has thought better of it");
}

#[test]
fn what_is_refused_prolongs_nothing() {
    let mut bench = Bench::idle(settings(Version::V3));
    bench.advertised(BELOW, &stronger(Version::V3));
    let began = bench.now;
    let multicast = MULTICAST_V4.into();
    let payload = encode(&stronger(Version::V3), Form::Pseudo, BELOW.into(), multicast);
    while bench.outside() != Outside::Nobody {
        assert!(bench.now.since(began) < DOWN + LITTLE * 200, "it never ends");
        bench.pass(Duration::from_millis(100));
        bench.hear(&packet(BELOW.into(), multicast, HOP_LIMIT - 1, &payload));
    }
    assert!(bench.now.since(began) >= DOWN, "{:?}", bench.now.since(began));
}

#[test]
fn a_difference_does_not_prolong_the_time_of_who_prevails() {
    let mut bench = Bench::idle(settings(Version::V3));
    bench.advertised(BELOW, &stronger(Version::V3));
    bench.pass(SECOND * 2);
    let other = Advertisement { addresses: vec![[192, 0, 2, 7].into()], ..stronger(Version::V3) };
    bench.advertised(BELOW, &other);
    assert_eq!(bench.outside(), Outside::Differs(Some(THEIRS)));
    bench.pass(DOWN - SECOND * 2 + LITTLE);
    assert_eq!(bench.outside(), Outside::Nobody);
}

/// keepalived answers and sends five announcements each time; two that do not hear each other
/// would do that for ever.
#[test]
fn a_weaker_router_is_answered_once_in_an_interval_and_named_if_it_goes_on() {
    let mut bench = Bench::owner(settings(Version::V3));
    for _ in 0..50 {
        bench.pass(Duration::from_millis(200));
        bench.advertised(ABOVE, &weaker(Version::V3));
    }
    let sent = bench.sent().len();
    assert!((10..=11).contains(&sent), "{sent} in 10 s");
    assert_eq!(bench.announces(), 1, "the rest is the defence of the group");
    assert_eq!(bench.notes(), [Note::Begun(ABOVE.into(), 100), Note::Deaf(ABOVE.into())]);
}

#[test]
fn giving_is_said_at_once_and_ends_with_the_first_word_of_another() {
    let mut bench = Bench::owner(settings(Version::V3));
    bench.stand(Standing::Yielding);
    assert_eq!((bench.outside(), bench.priorities()), (Outside::Nobody, vec![0]));
    bench.pass(Duration::from_millis(600));
    bench.advertised(BELOW, &weaker(Version::V3));
    assert_eq!(bench.outside(), Outside::Prevails(Some(THEIRS)), "also a weaker one");
    bench.stand(Standing::Away);
    assert_eq!(bench.priorities(), [0], "it was said already");
}

#[test]
fn whoever_finds_no_taker_goes_on() {
    let mut bench = Bench::owner(settings(Version::V3));
    bench.stand(Standing::Yielding);
    bench.pass(SECOND * 2);
    bench.stand(Standing::Held);
    assert_eq!(bench.priorities(), [0, 150]);
}

#[test]
fn other_members_are_the_same_router() {
    let mut bench = Bench::idle(settings(Version::V3));
    let ours = advertisement(bench.router().settings());
    bench.advertised(MEMBER, &ours);
    assert_eq!(bench.outside(), Outside::Nobody, "by its address");
    let multicast = MULTICAST_V4.into();
    let payload = encode(&ours, Form::Pseudo, ABOVE.into(), multicast);
    bench.hear_from(Some(MEMBERS), &packet(ABOVE.into(), multicast, HOP_LIMIT, &payload));
    assert_eq!(bench.outside(), Outside::Nobody, "by its hardware");
    // While a member speaks, ties are its: a lower address gives way although this node is silent.
    bench.advertised(BELOW, &ours);
    assert_eq!(bench.outside(), Outside::GivesWay(Some(THEIRS)));
    bench.pass(DOWN + SECOND);
    bench.advertised(BELOW, &ours);
    assert_eq!(bench.outside(), Outside::Prevails(Some(THEIRS)), "nobody of ours speaks");
}

/// Nobody outside may notice that the group changes its owner inside.
#[test]
fn a_move_inside_is_silent() {
    let mut bench = Bench::owner(settings(Version::V3));
    bench.stand(Standing::Away);
    bench.pass(SECOND * 10);
    assert!(bench.priorities().is_empty(), "{:?}", bench.priorities());
    bench.stand(Standing::Held);
    assert_eq!(bench.priorities(), [150], "at once, so that others see no silence");
}

/// The two families are one group: what is left in one is given in the other.
#[test]
fn families_win_and_lose_together() {
    let sixth =
        Settings { addresses: vec!["2001:db8::100".parse().unwrap()], ..settings(Version::V3) };
    let mut bench = Bench::with(vec![settings(Version::V3), sixth], &[GROUP]);
    bench.stand(Standing::Held);
    assert_eq!(bench.priorities(), [150, 150]);
    bench.done.clear();
    bench.advertised(BELOW, &stronger(Version::V3));
    assert_eq!(bench.outside(), Outside::Prevails(Some(THEIRS)));
    bench.stand(Standing::Away);
    let sent = bench.sent();
    let [(_, last)] = sent.as_slice() else { panic!("{sent:?}") };
    assert!(last.priority == 0 && last.addresses[0].is_ipv6(), "{last:?}");
}

#[test]
fn without_preemption_a_weaker_router_keeps_what_it_has() {
    let ours = Settings { preempt: false, ..settings(Version::V3) };
    let mut bench = Bench::idle(ours.clone());
    bench.advertised(BELOW, &weaker(Version::V3));
    assert_eq!(bench.outside(), Outside::Prevails(Some(THEIRS)));
    let mut bench = Bench::owner(ours);
    bench.advertised(BELOW, &weaker(Version::V3));
    assert_eq!(bench.outside(), Outside::GivesWay(Some(THEIRS)), "it does not take either");
}

#[test]
fn a_changed_file_is_listened_for_first_and_a_removed_one_is_silent() {
    let mut bench = Bench::owner(settings(Version::V3));
    let none = std::collections::BTreeSet::new();
    let now = bench.now;
    let same = [(GROUP, vec![settings(Version::V3)])].into();
    assert_eq!(bench.routers.configure(now, same, &none), []);
    let ours = Settings { priority: 200, interval: SECOND * 2, ..settings(Version::V3) };
    let _ = bench.routers.configure(now, [(GROUP, vec![ours])].into(), &none);
    assert_eq!(bench.router().outside(now), Outside::Unknown);
    bench.pass(SECOND * 8);
    assert_eq!(bench.priorities().first(), Some(&200), "it is held all the time");
    bench.done.clear();
    let actions = bench.routers.configure(bench.now, [].into(), &none);
    assert_eq!(actions, [buoy::vrrp::Action::Forget(GROUP)]);
}

/// Who claims to speak often and says it once makes nothing go to and fro, and fills no log.
#[test]
fn short_words_count_for_long() {
    let mut bench = Bench::owner(settings(Version::V3));
    let often = Advertisement { interval: Duration::from_millis(10), ..stronger(Version::V3) };
    bench.advertised(BELOW, &often);
    bench.pass(DOWN - LITTLE);
    assert_eq!(bench.outside(), Outside::Prevails(Some(THEIRS)));
    bench.done.clear();
    for number in 0..200 {
        bench.advertised([198, 51, 100, number], &often);
        bench.pass(Duration::from_millis(100));
    }
    assert!(bench.notes().len() <= 8 * 7, "{} in 20 s", bench.notes().len());
}

/// What senders outside can make grow is bounded.
#[test]
fn a_crowd_of_routers_fills_nothing() {
    let mut bench = Bench::owner(settings(Version::V3));
    for number in 0..200 {
        let source = [198, 51, 100, number];
        bench.advertised(source, &weaker(Version::V3));
        bench.advertised(source, &Advertisement { id: number, ..weaker(Version::V3) });
    }
    assert_eq!(bench.router().speakers().count(), SPEAKERS_MAX);
    assert_eq!(bench.routers.overheard().len(), OVERHEARD_MAX);
    assert!(bench.refused().iter().any(|(refusal, _)| *refusal == Refusal::TooMany));
    assert!(bench.sent().len() <= 2 && bench.notes().len() <= SPEAKERS_MAX, "{:?}", bench.done);
}

#[test]
fn differences_are_told_in_words() {
    let said = |version, change: fn(&mut Advertisement)| {
        let mut bench = Bench::idle(settings(version));
        let mut theirs = advertisement(bench.router().settings());
        change(&mut theirs);
        bench.advertised(ABOVE, &theirs);
        match bench.notes().as_slice() {
            [Note::Differs(_, difference)] => difference.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let (v2, v3) = (Version::V2, Version::V3);
    assert_eq!(said(v3, |it| it.version = Version::V2), "as version 2; the file says version 3");
    assert_eq!(said(v2, |it| it.interval = SECOND * 2), "every 2s; the file says 1s");
    assert_eq!(
        said(v3, |it| it.addresses.push(HERE.into())),
        "for 192.0.2.100, 192.0.2.11; the file has other addresses"
    );
    let password = |it: &mut Advertisement| {
        it.authentication = Authentication::Password(buoy::vrrp::Password::new("s3cr"));
    };
    assert_eq!(said(v2, password), "with a password; the file has none");
}
