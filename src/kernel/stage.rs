//! Plays stories of what the kernel tells and of what follows, for the tests in `stories`.
//!
//! Each line is `what happens -> what is done and told`. Addresses are letters, followed by the
//! link that they are on: `A` 10.0.0.1/32, `B` fd00::1/128, `C` 10.0.0.3/32. What is done: `+A2`
//! adds, `-A2` ends connections and removes, `~A2` only removes. What is told: the event. `look`
//! stands for the demand to look at the whole host again. `R` among the addresses is a route.

use std::net::IpAddr;

use super::GroupAddresses;
use super::group::Routed;
use super::links::{Address, Link, Observation, Place, Readiness};
use super::reconcile::{Change, Reconciler, Refusal};
use crate::protocol::{GroupKey, Instant, KernelEvent, Mode, Ticket};
use crate::routing::{Network, Route, RouteKind, Routing};

const KEY: GroupKey = GroupKey(1);

struct Stage {
    reconciler: Reconciler,
    now: Instant,
    interface: Option<String>,
}

/// Plays a story of the group of `A` and `B` on `eth0`, which is link 2 and up.
pub(super) fn play(story: &str) {
    play_on(Some("eth0"), "AB", story);
}

pub(super) fn play_on(interface: Option<&str>, addresses: &str, story: &str) {
    let groups = configuration(interface.map(str::to_owned), addresses);
    let reconciler = Reconciler::new(groups, Instant::START);
    let mut stage =
        Stage { reconciler, now: Instant::START, interface: interface.map(str::to_owned) };
    stage.happen("link 2 eth0 up");
    let at_first = if interface.is_some() { "" } else { "usable:false unknown" };
    assert_eq!(stage.follows(), at_first);
    for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (step, expected) = line.split_once("->").unwrap_or((line, ""));
        stage.happen(step.trim());
        assert_eq!(stage.follows(), expected.trim(), "at `{line}` of:\n{story}");
        let again = stage.follows();
        assert_eq!(again.trim_start_matches("look"), "", "settled twice at `{line}` of:\n{story}");
    }
}

fn configuration(interface: Option<String>, addresses: &str) -> Vec<GroupAddresses> {
    if addresses == "none" {
        return Vec::new();
    }
    let routing = if addresses.contains('R') { a_route() } else { Routing::default() };
    let places = addresses
        .chars()
        .filter(|letter| *letter != 'R')
        .map(|letter| place(&format!("{letter}0")));
    let written =
        |place: Place| if place.address == self::place("p0").address { 24 } else { place.prefix };
    let addresses = places.map(|place| (place.address, written(place))).collect();
    let (name, mode) = ("web".to_owned(), Mode::Availability);
    let keys = std::collections::BTreeMap::new();
    vec![GroupAddresses { key: KEY, name, mode, interface, addresses, keys, routing }]
}

fn a_route() -> Routing {
    let to = Network { address: [10, 9, 0, 0].into(), prefix: 16 };
    let (via, dev, source) = (None, None, None);
    let (kind, table, metric, onlink) = (RouteKind::Blackhole, 100, 0, false);
    let route = Route { to, kind, via, dev, onlink, source, table, metric };
    Routing { routes: vec![route], rules: Vec::new() }
}

fn place(text: &str) -> Place {
    let (letter, link) = text.split_at(1);
    let (address, prefix) = match letter {
        "A" => ("10.0.0.1", 32),
        "B" => ("fd00::1", 128),
        "C" => ("10.0.0.3", 32),
        // The host's own, which name its networks.
        "h" => ("10.0.0.9", 24),
        "w" => ("10.0.0.8", 8),
        // With a written prefix, and as it is added where that would do harm.
        "p" => ("10.0.0.5", 24),
        "P" => ("10.0.0.5", 32),
        "i" => ("fd00::9", 64),
        _ => panic!("no such address: {text}"),
    };
    let address: IpAddr = address.parse().unwrap();
    Place { address, link: link.parse().unwrap(), prefix }
}

fn change(text: &str) -> Change {
    let (sign, text) = text.split_at(1);
    let place = place(text);
    match sign {
        "+" => Change::Add(place),
        "-" => Change::Remove { place, connections: true },
        "~" => Change::Remove { place, connections: false },
        _ => panic!("no such change: {sign}"),
    }
}

fn shown(place: Place) -> String {
    let letters = ["A", "B", "C", "p", "P"];
    let letter = letters.iter().find(|letter| {
        let known = self::place(&format!("{letter}0"));
        (known.address, known.prefix) == (place.address, place.prefix)
    });
    format!("{}{}", letter.unwrap(), place.link)
}

fn address(text: &str, how: Option<&&str>) -> Observation {
    let place = place(text);
    let readiness = match how {
        Some(&"tentative") => Readiness::Tentative,
        Some(&"duplicate") => Readiness::Duplicate,
        _ => Readiness::Ready,
    };
    let ours = how != Some(&"foreign");
    Observation::Address(Address {
        place,
        network: place.address,
        ours,
        readiness,
        primary: how != Some(&"secondary"),
    })
}

fn link(index: &str, name: &str, how: &str) -> Observation {
    let index: u32 = index.parse().unwrap();
    // Written behind an `@`, or that of the index.
    let (how, last) = how.split_once('@').unwrap_or((how, ""));
    let last = last.parse().unwrap_or(u8::try_from(index).unwrap());
    Observation::Link(Link {
        index,
        name: name.to_owned(),
        hardware: Some([2, 0, 0, 0, 0, last]),
        usable: how == "up",
        silent: how == "silent",
        ..Link::default()
    })
}

impl Stage {
    fn happen(&mut self, step: &str) {
        let words: Vec<&str> = step.split_whitespace().collect();
        let ticket = || Ticket(words[1].parse().unwrap());
        let now = self.now;
        match words[0] {
            "acquire" => {
                let _ = self.reconciler.acquire((KEY, ticket()), None, now);
            }
            "hand" => self.reconciler.hand(KEY),
            "routes" => {
                let routed = match words[1] {
                    "here" => Routed::Here,
                    "refused" => Routed::Refused,
                    "pending" => Routed::Pending,
                    other => panic!("routes are never {other}"),
                };
                assert!(self.reconciler.set_routed(KEY, routed), "no news at {step}");
            }
            "release" => self.reconciler.release(KEY, ticket()),
            "sees" => self.reconciler.observe(address(words[1], words.get(2))),
            "loses" => self.reconciler.observe(Observation::AddressGone(place(words[1]))),
            "done" => self.reconciler.answered(&change(words[1]), Ok(()), now),
            "refused" => {
                let refusal = match words[2] {
                    "exists" => Refusal::Exists,
                    "missing" => Refusal::Missing,
                    "nolink" => Refusal::NoLink,
                    "forbidden" => Refusal::NotPermitted,
                    "broken" => Refusal::Disconnected,
                    _ => Refusal::Other(22),
                };
                self.reconciler.answered(&change(words[1]), Err(refusal), now);
            }
            "link" if words[2] == "gone" => {
                let index = words[1].parse().unwrap();
                self.reconciler.observe(Observation::LinkGone(index));
            }
            "link" => self.reconciler.observe(link(words[1], words[2], words[3])),
            "dump" => {
                let mut all = vec![link("2", "eth0", "up")];
                all.extend(words[1..].iter().map(|word| match word.strip_suffix('!') {
                    Some(foreign) => address(foreign, Some(&"foreign")),
                    None => address(word, None),
                }));
                self.reconciler.resynchronised(all);
            }
            "time" => {
                self.now = Instant::from_millis(words[1].parse().unwrap());
                let due = self.reconciler.deadline();
                assert!(
                    due.is_some_and(|due| due <= self.now),
                    "nothing is due at {step}: {due:?}"
                );
            }
            "at" => self.now = Instant::from_millis(words[1].parse().unwrap()),
            "closed" => self.reconciler.set_closed(true),
            "open" => self.reconciler.set_closed(false),
            "configure" => {
                let groups = configuration(self.interface.clone(), words[1]);
                self.reconciler.reconfigure(groups, now);
            }
            _ => panic!("no such step: {step}"),
        }
    }

    fn follows(&mut self) -> String {
        let settled = self.reconciler.settle(self.now);
        for change in &settled.changes {
            self.reconciler.given(change, self.now);
        }
        let changes = settled.changes.iter().map(|change| match change {
            Change::Add(place) => format!("+{}", shown(*place)),
            Change::Remove { place, connections: true } => format!("-{}", shown(*place)),
            Change::Remove { place, connections: false } => format!("~{}", shown(*place)),
        });
        let events = settled.events.iter().map(|event| match event {
            KernelEvent::Present { ticket, .. } => format!("present:{}", ticket.0),
            KernelEvent::Absent { ticket, .. } => format!("absent:{}", ticket.0),
            KernelEvent::Failed { ticket, failure, .. } => {
                format!("failed:{}:{failure:?}", ticket.0)
            }
            KernelEvent::Repaired { .. } => "repaired".to_owned(),
            KernelEvent::Usable { usable, .. } => format!("usable:{usable}"),
            KernelEvent::Attached { attachment, .. } => format!("{attachment:?}").to_lowercase(),
            KernelEvent::Moved { .. } => "moved".to_owned(),
            KernelEvent::Reach(_)
            | KernelEvent::Claimed { .. }
            | KernelEvent::Hardware(_)
            | KernelEvent::Verified { .. }
            | KernelEvent::Neighbours(_)
            | KernelEvent::Connections { .. }
            | KernelEvent::Keepable { .. }
            | KernelEvent::Kept(_)
            | KernelEvent::ConnectionsRemain(_) => {
                panic!("not told here")
            }
        });
        let look = self.reconciler.needs_resynchronising().then(|| "look".to_owned());
        let all: Vec<String> = changes.chain(events).chain(look).collect();
        all.join(" ")
    }
}
