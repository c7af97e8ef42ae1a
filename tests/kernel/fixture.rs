//! A running kernel thread and the events that it told.

use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use buoy::kernel::{self, GroupAddresses, Kernel, Settings};
use buoy::protocol::{GroupKey, HardwareAddress, KernelEvent, Mode, Neighbour};
use buoy::routing::Routing;

use crate::until::PATIENCE;

/// See the module's text.
pub(crate) struct Fixture {
    /// What is tested.
    pub(crate) kernel: Kernel,
    events: Receiver<KernelEvent>,
    hardware: Receiver<KernelEvent>,
    neighbours: Arc<Mutex<Vec<Neighbour>>>,
}

impl Fixture {
    /// Starts with these groups.
    pub(crate) fn start(groups: Vec<GroupAddresses>) -> Self {
        Self::start_with(Settings {
            groups,
            peer_addresses: Vec::new(),
            fence: None,
            ..Settings::default()
        })
    }

    /// Starts with these settings.
    pub(crate) fn start_with(settings: Settings) -> Self {
        let (told, events) = channel();
        let (told_hardware, hardware) = channel();
        let neighbours = Arc::new(Mutex::new(Vec::new()));
        let latest = Arc::clone(&neighbours);
        // These come at any time and are no answer to anything.
        let sink = Box::new(move |event| {
            if let KernelEvent::Neighbours(hosts) = event {
                *latest.lock().expect("no test panics here") = hosts;
            } else if matches!(event, KernelEvent::Hardware(_)) {
                drop(told_hardware.send(event));
            } else {
                drop(told.send(event));
            }
        });
        let kernel = kernel::start(settings, sink).expect("the tests have the permissions");
        Self { kernel, events, hardware, neighbours }
    }

    /// The hosts told of last.
    pub(crate) fn neighbours(&self) -> Vec<Neighbour> {
        self.neighbours.lock().expect("no test panics here").clone()
    }

    /// The next event; panics if there is none for long.
    pub(crate) fn next(&self) -> KernelEvent {
        self.events.recv_timeout(PATIENCE).expect("an event within the deadline")
    }

    /// The hardware addresses that were told next; panics if there are none for long.
    pub(crate) fn next_hardware(&self) -> Vec<HardwareAddress> {
        let told = self.hardware.recv_timeout(PATIENCE).expect("an event within the deadline");
        let KernelEvent::Hardware(told) = told else { panic!("{told:?}") };
        told.into_iter().flatten().collect()
    }

    /// The next event, if there is one within this time.
    pub(crate) fn next_within(&self, time: Duration) -> Option<KernelEvent> {
        match self.events.recv_timeout(time) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the kernel thread ended"),
        }
    }

    /// Stops the thread.
    pub(crate) fn stop(self) {
        self.kernel.stop();
    }
}

/// A group of addresses like "10.77.0.100/32"; an empty interface stands for none given.
pub(crate) fn group(interface: &str, addresses: &[&str]) -> GroupAddresses {
    let parse = |text: &&str| {
        let (address, prefix) = text.split_once('/').expect("written with a prefix");
        (address.parse().expect("an address"), prefix.parse().expect("a prefix"))
    };
    let addresses: Vec<(IpAddr, u8)> = addresses.iter().map(parse).collect();
    let first = addresses.first().expect("a group has an address").0;
    GroupAddresses {
        key: GroupKey::from_first_address(first),
        name: first.to_string(),
        mode: Mode::Availability,
        interface: Some(interface.to_owned()).filter(|name| !name.is_empty()),
        addresses,
        keys: std::collections::BTreeMap::new(),
        routing: Routing::default(),
    }
}

/// The key of the group with this first address.
pub(crate) fn key(first: &str) -> GroupKey {
    GroupKey::from_first_address(first.parse().expect("an address"))
}
