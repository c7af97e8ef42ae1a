//! Tests of `reconcile`, `group` and `links` together, as stories of what is told and what follows.
//!
//! Each line is `what happens -> what is done and told`. Addresses are letters, followed by the
//! link that they are on: `A` 10.0.0.1/32, `B` fd00::1/128, `C` 10.0.0.3/32. What is done: `+A2`
//! adds, `-A2` ends connections and removes, `~A2` only removes. What is told: the event. `look`
//! stands for the demand to look at the whole host anew.

use std::net::IpAddr;

use super::GroupAddresses;
use super::links::{Address, Link, Observation, Place, Readiness};
use super::reconcile::{Change, Reconciler, Refusal};
use crate::protocol::{GroupKey, Instant, KernelEvent, Ticket};

const KEY: GroupKey = GroupKey(1);

struct Stage {
    reconciler: Reconciler,
    now: Instant,
    interface: Option<String>,
}

/// Plays a story of the group of `A` and `B` on `eth0`, which is link 2 and up.
fn play(story: &str) {
    play_on(Some("eth0"), "AB", story);
}

fn play_on(interface: Option<&str>, addresses: &str, story: &str) {
    let groups = configuration(interface.map(str::to_owned), addresses);
    let reconciler = Reconciler::new(groups, Instant::START);
    let mut stage =
        Stage { reconciler, now: Instant::START, interface: interface.map(str::to_owned) };
    stage.happen("link 2 eth0 up");
    let at_first = if interface.is_some() { "" } else { "usable:false" };
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
    let places = addresses.chars().map(|letter| place(&format!("{letter}0")));
    let addresses = places.map(|place| (place.address, place.prefix)).collect();
    vec![GroupAddresses { key: KEY, name: "web".to_owned(), interface, addresses }]
}

fn place(text: &str) -> Place {
    let (letter, link) = text.split_at(1);
    let (address, prefix) = match letter {
        "A" => ("10.0.0.1", 32),
        "B" => ("fd00::1", 128),
        "C" => ("10.0.0.3", 32),
        // The host's own, which name its networks.
        "h" => ("10.0.0.9", 24),
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
    let letters = ["A", "B", "C"];
    let letter =
        letters.iter().find(|letter| self::place(&format!("{letter}0")).address == place.address);
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
    Observation::Address(Address { place, network: place.address, ours, readiness })
}

fn link(index: &str, name: &str, how: &str) -> Observation {
    Observation::Link(Link {
        index: index.parse().unwrap(),
        name: name.to_owned(),
        hardware: None,
        usable: how == "up",
        loopback: false,
    })
}

impl Stage {
    fn happen(&mut self, step: &str) {
        let words: Vec<&str> = step.split_whitespace().collect();
        let ticket = || Ticket(words[1].parse().unwrap());
        let now = self.now;
        match words[0] {
            "acquire" => self.reconciler.acquire(KEY, ticket(), now),
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
            "configure" => {
                let groups = configuration(self.interface.clone(), words[1]);
                self.reconciler.reconfigure(groups, now);
            }
            _ => panic!("no such step: {step}"),
        }
    }

    fn follows(&mut self) -> String {
        let settled = self.reconciler.settle(self.now);
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
            KernelEvent::Reach(_) => panic!("not told here"),
        });
        let look = self.reconciler.needs_resynchronising().then(|| "look".to_owned());
        let all: Vec<String> = changes.chain(events).chain(look).collect();
        all.join(" ")
    }
}

#[test]
fn present_is_told_by_events_not_by_answers() {
    play(
        "acquire 1 -> +A2 +B2
         done +A2
         done +B2
         sees A2
         sees B2 -> present:1",
    );
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2",
    );
}

#[test]
fn a_tentative_address_is_not_present_and_a_duplicate_fails() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 tentative
         done +A2
         done +B2
         sees B2 duplicate -> -A2 -B2
         loses A2
         loses B2
         done -A2
         done -B2 -> failed:1:Duplicate",
    );
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 tentative
         sees B2 -> present:1",
    );
}

#[test]
fn what_is_refused_fails_after_everything_is_removed() {
    for (refusal, failure) in [("forbidden", "NotPermitted"), ("other", "Refused")] {
        play(&format!(
            "acquire 1 -> +A2 +B2
             sees A2
             done +A2
             refused +B2 {refusal} -> -A2
             done -A2
             loses A2 -> failed:1:{failure}
             acquire 2 -> +A2 +B2"
        ));
    }
    play(
        "acquire 1 -> +A2 +B2
         refused +A2 nolink -> look
         refused +B2 nolink -> failed:1:NoInterface look",
    );
}

#[test]
fn an_address_of_a_stranger_fails_and_is_never_touched() {
    play(
        "sees A2 foreign
         acquire 1 -> failed:1:ForeignAddress
         release 2 -> absent:2",
    );
    play(
        "sees A7 foreign
         acquire 1 -> failed:1:ForeignAddress",
    );
    // It came after we had looked.
    play(
        "acquire 1 -> +A2 +B2
         sees B2
         done +B2
         refused +A2 exists -> +A2 look
         dump A2! B2 -> -B2
         refused +A2 exists -> look
         loses B2 -> look
         done -B2 -> failed:1:ForeignAddress look",
    );
}

#[test]
fn an_address_of_ours_that_is_already_there_is_success() {
    play(
        "sees A2 -> -A2
         sees B2 -> -B2
         done -A2
         loses A2
         loses B2
         done -B2
         acquire 1 -> +A2 +B2
         refused +A2 exists -> +A2 look
         dump A2
         sees B2 -> present:1",
    );
}

#[test]
fn late_means_failed() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         done +A2
         done +B2
         time 51 -> look
         dump A2 -> +B2
         time 1000 -> -A2
         loses A2
         done -A2
         done +B2
         time 1051 -> look
         dump -> failed:1:Timeout",
    );
}

#[test]
fn absent_is_told_when_everything_is_seen_to_be_gone() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         release 2 -> -A2 -B2
         done -A2
         done -B2
         loses A2
         loses B2 -> absent:2
         release 3 -> absent:3",
    );
}

#[test]
fn a_removal_is_repeated_until_it_is_confirmed() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         release 2 -> -A2 -B2
         loses B2
         done -B2
         done -A2
         time 50 -> look
         dump A2 -> -A2
         refused -A2 other
         time 100 -> look
         dump A2 -> -A2
         refused -A2 missing -> look
         dump -> absent:2",
    );
}

#[test]
fn nothing_is_told_to_be_gone_while_it_is_still_being_added() {
    play(
        "acquire 1 -> +A2 +B2
         release 2
         refused +A2 other
         sees B2
         done +B2 -> -B2
         loses B2
         done -B2 -> absent:2",
    );
}

#[test]
fn what_is_being_removed_is_not_present() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         release 2 -> -A2 -B2
         acquire 3
         loses A2
         done -A2 -> +A2
         loses B2
         done -B2 -> +B2
         sees A2
         sees B2 -> present:3",
    );
}

#[test]
fn what_somebody_removed_is_put_back_at_once() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         loses A2 -> +A2
         done +A2
         sees A2 -> repaired
         loses A2 -> +A2
         loses B2 -> +B2
         sees A2
         sees B2
         done +A2
         done +B2
         time 100 -> repaired",
    );
}

#[test]
fn what_cannot_be_put_back_fails() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         loses A2 -> +A2
         refused +A2 other -> -B2
         loses B2
         done -B2 -> failed:1:Refused",
    );
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         loses A2 -> +A2
         refused +A2 exists -> +A2 look
         dump A2! B2 -> -B2
         refused +A2 exists -> look
         loses B2 -> look
         done -B2 -> failed:1:ForeignAddress look",
    );
}

#[test]
fn without_its_link_a_held_group_waits_and_is_whole_again_afterwards() {
    // Going down takes the IPv6 address along.
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         link 2 eth0 down -> usable:false
         loses B2
         link 2 eth0 up -> +B2 usable:true
         sees B2 -> repaired
         done +B2",
    );
    // Deleted and made again under the same name.
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         link 2 eth0 down -> usable:false
         loses A2
         loses B2
         link 2 gone
         link 3 eth0 down
         link 3 eth0 up -> +A3 +B3 usable:true
         sees A3
         sees B3 -> repaired",
    );
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         link 2 gone -> usable:false
         release 2 -> absent:2",
    );
}

#[test]
fn a_missing_interface_fails_at_once_and_a_dead_one_when_late() {
    play(
        "link 2 gone -> usable:false
         acquire 1 -> failed:1:NoInterface",
    );
    play(
        "link 2 eth0 down -> usable:false
         acquire 1
         time 1000 -> failed:1:Timeout
         link 2 eth0 up -> usable:true",
    );
}

#[test]
fn without_an_interface_each_address_finds_its_network() {
    play_on(
        None,
        "A",
        "sees h2 foreign -> usable:true
         acquire 1 -> +A2
         sees A2 -> present:1
         done +A2
         loses h2
         link 3 eth1 up
         sees h3 foreign -> +A3 ~A2
         done +A3
         sees A3
         loses A2 -> repaired
         done ~A2",
    );
}

#[test]
fn a_changed_list_changes_only_the_difference() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         configure AB
         configure AC -> +C2 -B2
         sees C2
         done +C2
         loses B2 -> present:1
         done -B2
         release 2 -> -A2 -C2",
    );
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         configure none -> -A2 -B2
         release 2
         loses A2
         loses B2
         done -A2
         done -B2 -> absent:2
         release 3 -> absent:3
         acquire 4 -> failed:4:Refused
         configure A
         acquire 5 -> +A2",
    );
}
