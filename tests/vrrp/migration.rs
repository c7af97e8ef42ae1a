//! A node of the file whose host runs a router outside, and settings that change while it does.

use std::collections::BTreeMap;
use std::time::Duration;

use buoy::protocol::Outside;
use buoy::vrrp::{
    Advertisement, Family, Form, HOP_LIMIT, Hosts, MULTICAST_V4, Members, Settings, Standing,
    Version, encode,
};

use super::bench::{
    BELOW, Bench, GROUP, HERE, MEMBER, MEMBERS, SECOND, advertisement, hosts, packet, settings,
};

const LITTLE: Duration = Duration::from_millis(1);

impl Bench {
    fn know(&mut self, members: Members) {
        let actions = self.routers.know_members(self.now, members);
        self.done.extend(actions.into_iter().map(|action| (self.now, action)));
    }

    fn reload(&mut self, settings: Settings) {
        let wanted = BTreeMap::from([(GROUP, vec![settings])]);
        let actions = self.routers.configure(self.now, wanted, &[].into());
        self.done.extend(actions.into_iter().map(|action| (self.now, action)));
    }

    /// The host of the other node advertises with this priority.
    fn at_the_node(&mut self, priority: u8) {
        let said = Advertisement { priority, ..advertisement(self.router().settings()) };
        let (source, multicast) = (MEMBER.into(), MULTICAST_V4.into());
        let payload = encode(&said, Form::Pseudo, source, multicast);
        self.hear_from(Some(MEMBERS), &packet(source, multicast, HOP_LIMIT, &payload));
    }
}

/// Its daemon has not been started yet, or was stopped in good order: what speaks there is keepalived.
#[test]
fn the_host_of_a_node_that_is_no_member_is_a_router_outside() {
    let mut bench = Bench::idle(settings(Version::V2));
    bench.know(Members::default());
    bench.at_the_node(150);
    assert_eq!(bench.outside(), Outside::Prevails(Some(MEMBERS)));
    bench.know(Members { living: hosts(MEMBER, MEMBERS), silent: Hosts::default() });
    assert_eq!(bench.outside(), Outside::Nobody, "buoy has been started there");
    bench.at_the_node(150);
    assert_eq!(bench.outside(), Outside::Nobody);
}

/// A member that this node does not hear any more may still own the group.
#[test]
fn a_silent_member_speaks_for_the_cluster_with_its_priority_only() {
    let mut bench = Bench::owner(settings(Version::V2));
    bench.know(Members { living: Hosts::default(), silent: hosts(MEMBER, MEMBERS) });
    for priority in [150, 0] {
        bench.at_the_node(priority);
        assert_eq!(bench.outside(), Outside::Nobody, "{priority}");
    }
    bench.at_the_node(200);
    assert_eq!(bench.outside(), Outside::Prevails(Some(MEMBERS)), "this is keepalived");
}

/// A reload that raises the priority takes at once. One that lowers it gives as soon as the other says
/// that it has the group, and not before: nobody would answer until then. The owner's silence is never
/// longer than an interval.
#[test]
fn another_priority_counts_without_listening_again() {
    let low = Settings { priority: 90, ..settings(Version::V2) };
    let mut bench = Bench::idle(low.clone());
    let other = Advertisement { priority: 100, ..advertisement(&low) };
    bench.advertised(BELOW, &other);
    assert!(matches!(bench.outside(), Outside::Prevails(_)));
    bench.reload(settings(Version::V2));
    assert!(matches!(bench.outside(), Outside::GivesWay(_)), "{:?}", bench.outside());
    bench.stand(Standing::Held);
    assert_eq!(bench.priorities(), [150]);
    bench.pass(SECOND / 2);
    bench.reload(low.clone());
    assert_eq!(bench.outside(), Outside::Nobody, "it has given way, and does not answer yet");
    bench.advertised(BELOW, &other);
    assert!(matches!(bench.outside(), Outside::Prevails(_)), "{:?}", bench.outside());
    bench.stand(Standing::Away);

    let mut bench = Bench::owner(settings(Version::V2));
    bench.pass(SECOND / 2);
    bench.reload(low);
    bench.pass(SECOND / 2 + LITTLE);
    assert_eq!((bench.outside(), bench.priorities()), (Outside::Nobody, vec![90]));
}

#[test]
fn other_settings_begin_to_listen() {
    for changed in [
        Settings { id: 52, ..settings(Version::V2) },
        Settings { interval: SECOND * 2, ..settings(Version::V2) },
        Settings { peers: vec![BELOW.into()], ..settings(Version::V2) },
    ] {
        let mut bench = Bench::idle(settings(Version::V2));
        bench.reload(changed);
        assert_eq!(bench.outside(), Outside::Unknown);
    }
}

/// The file is the same at all nodes, so its peers are all hosts.
#[test]
fn nothing_is_sent_to_this_host() {
    let peers = vec![HERE.into(), BELOW.into()];
    let mut bench = Bench::idle(Settings { peers, ..settings(Version::V2) });
    bench.stand(Standing::Held);
    assert_eq!(bench.priorities(), [150], "one packet");
}

/// Said by the guardian of a node that dies, but not if another member goes on: others would race it.
#[test]
fn last_words_are_left_by_the_last_member_that_speaks() {
    let mut bench = Bench::idle(settings(Version::V2));
    bench.know(Members::default());
    assert_eq!(bench.routers.alone().count(), 0, "it does not speak");
    bench.stand(Standing::Held);
    let alone: Vec<_> = bench.routers.alone().collect();
    assert_eq!(alone, [(GROUP, Family::V4)]);
    bench.done.clear();
    let words = bench.routers.last_words(&alone);
    bench.done.extend(words.into_iter().map(|word| (bench.now, word)));
    assert_eq!(bench.priorities(), [0]);
    bench.know(Members { living: hosts(MEMBER, MEMBERS), silent: Hosts::default() });
    assert_eq!(bench.routers.alone().count(), 0, "another member lives");
}
