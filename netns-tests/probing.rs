//! The measuring instruments themselves, without a daemon: addresses are moved by hand, and what
//! the probes and the watch tell is compared with what was done.

use std::net::IpAddr;
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::dump::KernelState;
use buoy::lab::filter::Rule;
use buoy::lab::network::{Direction, HostPlan, Interface, Network};
use buoy::lab::ownership::Watch;
use buoy::lab::probe::Prober;

use crate::Outcome;
use crate::runner::Test;
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("probes_tell_outage_and_who_answers", probes_tell_outage_and_who_answers),
    ("watch_tells_two_owners", watch_tells_two_owners),
    ("cuts_have_a_direction", cuts_have_a_direction),
    ("loss_hits_only_its_port", loss_hits_only_its_port),
];

const SOON: Duration = Duration::from_secs(5);
const RECENT: Duration = Duration::from_millis(100);
const CLIENT: usize = 2;

/// Two hosts and a client.
fn build() -> Result<Network, Box<dyn std::error::Error>> {
    let plan = |name: &str, last: u8| HostPlan {
        name: name.to_owned(),
        interfaces: vec![Interface {
            name: "eth0".to_owned(),
            network: 0,
            addresses: vec![
                (IpAddr::from([10, 77, 0, last]), 24),
                (IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, u16::from(last)]), 64),
            ],
        }],
    };
    Ok(Network::build(&[plan("a", 11), plan("b", 12), plan("client", 1)])?)
}

fn vips() -> [IpAddr; 2] {
    [IpAddr::from([10, 77, 0, 100]), IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, 0x100])]
}

/// Gives or takes both addresses by hand.
fn change(network: &Network, host: usize, verb: &str) -> Outcome {
    let mut commands = String::new();
    for vip in vips() {
        let (bits, nodad) = if vip.is_ipv6() { (128, " nodad") } else { (32, "") };
        let nodad = if verb == "add" { nodad } else { "" };
        commands.push_str(&format!("addr {verb} {vip}/{bits} dev eth0{nodad}\n"));
    }
    Ok(network.hosts()[host].namespace.ip(&commands)?)
}

/// The client forgets where the addresses are, as an announcement would make it.
fn forget(network: &Network) -> Outcome {
    Ok(network.hosts()[CLIENT].namespace.ip("neigh flush dev eth0\n")?)
}

fn answered_by(network: &Network, prober: &Prober, host: usize) -> Result<(), String> {
    for (vip, mac) in prober.answering(RECENT) {
        let who = mac.and_then(|mac| network.host_of(mac));
        if who != Some(host) {
            return Err(format!("{vip} is answered by {who:?}"));
        }
    }
    Ok(())
}

/// Host a has both addresses and loses them; 100 ms later b gets them. The probes tell an outage
/// of about that length, of both families, and that b answers after a.
fn probes_tell_outage_and_who_answers() -> Outcome {
    let network = build()?;
    change(&network, 0, "add")?;
    let prober = Prober::start(&network.hosts()[CLIENT].namespace, &vips())?;
    until("a answers", SOON, || answered_by(&network, &prober, 0))?;
    let begin = clock::now();
    clock::pause(Duration::from_millis(20));
    change(&network, 0, "del")?;
    let gone = clock::now();
    clock::pause(Duration::from_millis(100));
    change(&network, 1, "add")?;
    forget(&network)?;
    until("b answers", SOON, || answered_by(&network, &prober, 1))?;
    let taken = clock::now();
    clock::pause(RECENT);
    for (vip, seen) in prober.seen(begin, Prober::judged_until()) {
        let who: Vec<_> = seen.answered_by.iter().map(|mac| network.host_of(*mac)).collect();
        assert_eq!(who, [Some(0), Some(1)], "{vip}");
        assert!(seen.outage >= Duration::from_millis(100), "{vip}: {seen:?}");
        assert!(seen.outage <= taken.duration_since(begin), "{vip}: {seen:?}");
        assert!(seen.lost >= 40, "{vip} in {:?}: {seen:?}", taken.duration_since(gone));
        assert!(!seen.open);
    }
    Ok(())
}

/// Both hosts have the addresses for a while; then one has them without a link; then it has the
/// link again. The watch counts only the time in which both could be reached.
fn watch_tells_two_owners() -> Outcome {
    let network = build()?;
    let [vip, vip6] = vips();
    let nodes = [&network.hosts()[0].namespace, &network.hosts()[1].namespace];
    let watch = Watch::start(&nodes)?;
    let begin = clock::now();
    change(&network, 0, "add")?;
    change(&network, 1, "add")?;
    until("both hold it", SOON, || match watch.holders(vip).len() {
        2 => Ok(()),
        other => Err(format!("{other} hold it")),
    })?;
    clock::pause(Duration::from_millis(60));
    network.set_carrier(1, 0, false)?;
    until("one holds it", SOON, || match watch.holders(vip).len() {
        1 => Ok(()),
        other => Err(format!("{other} hold it")),
    })?;
    let end = clock::now();
    for vip in [vip, vip6] {
        let both = watch.timeline().two_owners(vip, begin, end);
        assert!(both >= Duration::from_millis(60), "{vip}: {both:?}");
        assert!(both < end.duration_since(begin), "{vip}: {both:?}");
    }
    let state = KernelState::read(&network.hosts()[1].namespace)?;
    assert!(state.holds(vip), "carrier loss takes no address away");
    assert!(!state.reachable().contains(&vip), "but nobody can reach it");
    let settled = clock::now();
    clock::pause(Duration::from_millis(20));
    let later = watch.timeline().two_owners(vip, settled, clock::now());
    assert_eq!(later, Duration::ZERO, "one holder is not two");
    Ok(())
}

/// A deaf host does not answer because it hears nothing, a mute one because nothing leaves it;
/// in both cases its link stays up, and after healing it answers again.
fn cuts_have_a_direction() -> Outcome {
    let mut network = build()?;
    change(&network, 0, "add")?;
    let prober = Prober::start(&network.hosts()[CLIENT].namespace, &vips())?;
    until("a answers", SOON, || answered_by(&network, &prober, 0))?;
    let received = |network: &Network| -> Result<u64, Box<dyn std::error::Error>> {
        let text = network.hosts()[0]
            .namespace
            .run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))??;
        let line = text.lines().find(|line| line.trim_start().starts_with("eth0:"));
        Ok(line.and_then(|line| line.split_whitespace().nth(2)).unwrap_or("0").parse()?)
    };
    for direction in [Direction::ToHost, Direction::FromHost] {
        network.cut(0, 0, direction)?;
        until("nothing is answered", SOON, || match prober.silent(RECENT).len() {
            2 => Ok(()),
            _ => Err("it still answers".to_owned()),
        })?;
        let before = received(&network)?;
        clock::pause(RECENT);
        let hears = received(&network)? - before > 20;
        assert_eq!(hears, direction == Direction::FromHost, "cut {direction:?}");
        let state = KernelState::read(&network.hosts()[0].namespace)?;
        assert!(state.reachable().contains(&vips()[0]), "its link is up");
        network.heal()?;
        until("a answers again", SOON, || answered_by(&network, &prober, 0))?;
    }
    Ok(())
}

/// One datagram in two to port 4748 is lost, over both families; other traffic passes.
fn loss_hits_only_its_port() -> Outcome {
    // What a receive buffer of the default size holds.
    const SENT: usize = 200;
    let mut network = build()?;
    network.add_rule(Rule::loss(4748, 2))?;
    for target in ["10.77.0.12", "fd77::c"] {
        let target: IpAddr = target.parse()?;
        for (port, few, many) in [(4748, 60, 140), (4749, SENT, SENT)] {
            let local: IpAddr = if target.is_ipv6() { [0_u16; 8].into() } else { [0_u8; 4].into() };
            let receive =
                network.hosts()[1].namespace.run(|| std::net::UdpSocket::bind((local, port)))??;
            let send =
                network.hosts()[0].namespace.run(|| std::net::UdpSocket::bind((local, 0)))??;
            receive.set_read_timeout(Some(Duration::from_millis(200)))?;
            for _ in 0..SENT {
                send.send_to(b"heartbeat", (target, port))?;
            }
            let mut arrived = 0;
            while receive.recv(&mut [0; 64]).is_ok() {
                arrived += 1;
            }
            assert!((few..=many).contains(&arrived), "{arrived} arrived at {target} port {port}");
        }
    }
    Ok(())
}
