//! What clients with connections see when the owner of their address dies.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use buoy::lab::clock;
use buoy::lab::fault::Fault;
use buoy::lab::plan::{Shape, vip, vip6};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{SOON, Scene, with};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] =
    &[("readers_of_a_dead_owner_are_reset_at_once", readers_of_a_dead_owner_are_reset_at_once)];

/// Idle clients of one address, and of one of IPv6 besides.
const CLIENTS: usize = 2000;
/// The last of them learns of the death within this after the taking.
const TOLD_WITHIN: Duration = Duration::from_millis(300);
/// A client that is not told waits for this long, then the test fails.
const HUNG: Duration = Duration::from_secs(10);

/// Opens a port on every node that greets, and keeps what it accepts.
pub(crate) fn serve(scene: &Scene, port: u16) -> Outcome {
    for node in 0..scene.cluster.nodes() {
        let bind = move || TcpListener::bind(SocketAddr::from(([0_u16; 8], port)));
        let listener = scene.cluster.namespace(node).run(bind)??;
        thread::spawn(move || {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept() {
                // A client that is gone already is no matter here.
                let _ = stream.write_all(b"hello");
                open.push(stream);
            }
        });
    }
    Ok(())
}

/// So many clients that were greeted and read.
pub(crate) fn readers(
    scene: &Scene,
    to: IpAddr,
    port: u16,
    count: usize,
) -> Result<Vec<TcpStream>, Box<dyn std::error::Error>> {
    let connect = || -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect((to, port))?;
        stream.set_read_timeout(Some(HUNG))?;
        stream.read_exact(&mut [0; 5])?;
        Ok(stream)
    };
    let client = scene.cluster.client();
    let clients = client.run(|| (0..count).map(|_| connect()).collect::<Result<Vec<_>, _>>())?;
    Ok(clients?)
}

/// Both ends of every connection are files of this process.
pub(crate) fn allow_descriptors(count: usize) -> Outcome {
    let wanted = u64::try_from(2 * count + 1024)?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted))?;
    }
    Ok(())
}

/// How a group's owner counts its connections.
fn counted(scene: &Scene, node: usize, group: &str) -> Option<u64> {
    let status = scene.cluster.status(node)?;
    let groups = status["groups"].as_array()?;
    groups.iter().find(|one| one["group"] == group)?["connections"].as_u64()
}

/// Thousands of clients have a connection and only read. Their owner's host dies without a word:
/// each client is reset as soon as another node has the address, not when its own keep-alive ends.
fn readers_of_a_dead_owner_are_reset_at_once() -> Outcome {
    // IPv4 and IPv6 in one group, so that both have one owner.
    with(&Shape { groups: vec![vec![vip(100), vip6(0x100)]], ..Shape::default() }, |scene| {
        allow_descriptors(2 * CLIENTS)?;
        serve(scene, 8080)?;
        let mut clients = readers(scene, vip(100), 8080, CLIENTS)?;
        clients.extend(readers(scene, vip6(0x100), 8080, CLIENTS / 10)?);
        let all = u64::try_from(clients.len())?;
        let victim = scene.owner(vip(100))?;
        until("the owner has counted them", SOON, || {
            match counted(scene, victim, "10.77.0.100") {
                Some(count) if count == all => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })?;
        for node in (0..scene.cluster.nodes()).filter(|node| *node != victim) {
            until("the others know of them", SOON, || {
                let status = scene.cluster.status(node).ok_or("no status")?;
                match status["counters"]["connections_remembered"].as_u64() {
                    Some(count) if count == all => Ok(()),
                    other => Err(format!("{other:?} at {node}")),
                }
            })?;
            assert_eq!(counted(scene, node, "10.77.0.100"), None, "only the owner tells");
        }

        let waiting: Vec<_> = clients.into_iter().map(Waiting::new).collect::<Result<_, _>>()?;
        // Watched from another thread: on a busy machine the fault itself takes a second to make.
        let watching = thread::spawn(move || await_resets(waiting).map_err(|e| e.to_string()));
        Fault::HostDeath.begin(&mut scene.cluster, victim)?;
        let resets = watching.join().map_err(|_| "the watching thread panicked")??;
        let heir = scene.owner(vip(100))?;
        assert_ne!(heir, victim);
        let timeline = scene.cluster.watch.timeline();
        let taken = timeline
            .of(vip(100))
            .filter(|change| change.node == heir && change.held)
            .map(|change| change.at)
            .last()
            .ok_or("the heir took it")?;
        let last =
            resets.iter().max().ok_or("there were clients")?.saturating_duration_since(taken);
        let first =
            resets.iter().min().ok_or("there were clients")?.saturating_duration_since(taken);
        let status = scene.cluster.status(heir).ok_or("no status")?;
        let sent = status["counters"]["tickles_sent"].as_u64();
        print_figures(resets.len(), first, last, sent);
        assert!(last <= TOLD_WITHIN, "the last client was reset {last:?} after the taking");
        assert!(sent >= Some(all), "{sent:?}");
        Fault::HostDeath.end(&mut scene.cluster, victim)?;
        scene.at_rest()
    })
}

fn print_figures(count: usize, first: Duration, last: Duration, sent: Option<u64>) {
    use std::io::stderr;
    let (first, last) = (first.as_millis(), last.as_millis());
    let sent = sent.unwrap_or_default();
    // A closed output is no reason to fail.
    let _ = writeln!(
        stderr(),
        "\n    {count} clients reset {first} to {last} ms after the taking, {sent} packets"
    );
}

/// A client without a blocking read.
struct Waiting {
    stream: TcpStream,
}

impl Waiting {
    fn new(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream })
    }

    /// Whether it has been reset; an error if it has ended in another way.
    fn is_reset(&mut self) -> Result<bool, String> {
        match self.stream.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(true),
            other => Err(format!("expected a reset, got {other:?}")),
        }
    }
}

/// When each was seen to be reset; looking at all takes some milliseconds.
fn await_resets(mut waiting: Vec<Waiting>) -> Result<Vec<Instant>, Box<dyn std::error::Error>> {
    let mut resets = Vec::new();
    until("every client is reset", HUNG, || {
        let mut left = Vec::new();
        for mut client in std::mem::take(&mut waiting) {
            if client.is_reset()? {
                resets.push(clock::now());
            } else {
                left.push(client);
            }
        }
        waiting = left;
        if waiting.is_empty() { Ok(()) } else { Err(format!("{} hang", waiting.len())) }
    })?;
    Ok(resets)
}
