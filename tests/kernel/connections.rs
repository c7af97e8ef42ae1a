//! A released address takes its connections along, and no others.

use std::fs;
use std::hint::spin_loop;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use buoy::protocol::{KernelEvent, Ticket};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::fixture::{Fixture, group, key};
use crate::namespace::{Neighbour, alone, isolated, run};
use crate::until::{PATIENCE, until};

/// Lets this process have so many files open, besides those it has.
pub(crate) fn allow_descriptors(count: usize) {
    let wanted = u64::try_from(count).expect("a count of sockets") + 256;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limits can be asked for");
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted))
            .unwrap_or_else(|error| panic!("{wanted} open files are needed: {error}"));
    }
}

/// A client in the neighbour's namespace, accepted here.
fn connect(neighbour: &Neighbour, listener: &TcpListener, to: &str) -> (TcpStream, TcpStream) {
    let port = listener.local_addr().expect("it is bound").port();
    let target = SocketAddr::new(to.parse().expect("an address"), port);
    let client = neighbour.perform(move || TcpStream::connect_timeout(&target, PATIENCE));
    let client = client.expect("the address answers");
    client.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    let (served, _) = listener.accept().expect("the client has connected");
    (client, served)
}

#[test]
fn clients_of_a_released_address_are_reset_and_others_are_not() {
    let name = "connections::clients_of_a_released_address_are_reset_and_others_are_not";
    isolated(name, |neighbour| {
        let addresses = ["10.77.0.100/32", "fd77::100/128"];
        let fixture = Fixture::start(vec![group("eth0", &addresses)]);
        let web = key("10.77.0.100");
        fixture.kernel.acquire(web, Ticket(1));
        assert_eq!(fixture.next(), KernelEvent::Present { group: web, ticket: Ticket(1) });

        let plain = TcpListener::bind("0.0.0.0:0").expect("a free port");
        // Accepts IPv4 as well, on sockets of the other family.
        let dual = TcpListener::bind("[::]:0").expect("a free port");
        let mut served = Vec::new();
        let mut ended = Vec::new();
        for (listener, to) in
            [(&plain, "10.77.0.100"), (&dual, "10.77.0.100"), (&dual, "fd77::100")]
        {
            let (client, server) = connect(neighbour, listener, to);
            ended.push((to, client));
            served.push(server);
        }
        let (survivor, server) = connect(neighbour, &plain, "10.77.0.1");

        fixture.kernel.release(web, Ticket(2));
        assert_eq!(fixture.next(), KernelEvent::Absent { group: web, ticket: Ticket(2) });
        for (to, mut client) in ended {
            let error = client.read(&mut [0]).expect_err("nothing was sent");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "client of {to}");
        }
        assert_eq!(fixture.kernel.counters().connections_ended.value(), 3);
        assert_eq!(fixture.kernel.counters().connections_left.value(), 0);
        std::io::Write::write_all(&mut &server, b"x").expect("it is still connected");
        let mut survivor = survivor;
        assert_eq!(survivor.read(&mut [0]).expect("it is still connected"), 1);
        drop(served);
        fixture.stop();
    });
}

/// Of each group those of its own addresses, IPv4 on IPv6 sockets too, and no others.
#[test]
fn established_connections_are_counted_by_group() {
    isolated("connections::established_connections_are_counted_by_group", |neighbour| {
        let web = ["10.77.0.100/32", "fd77::100/128"];
        let fixture = Fixture::start(vec![group("eth0", &web), group("eth0", &["10.77.0.101/32"])]);
        for (number, first) in ["10.77.0.100", "10.77.0.101"].into_iter().enumerate() {
            let ticket = Ticket(1 + number as u64);
            fixture.kernel.acquire(key(first), ticket);
            assert_eq!(fixture.next(), KernelEvent::Present { group: key(first), ticket });
        }
        let counted = |wanted: [u64; 2]| {
            until("the counts are right", || {
                let counts = fixture.kernel.connections();
                ["10.77.0.100", "10.77.0.101"].map(|first| counts.get(&key(first)).copied())
                    == wanted.map(Some)
            });
        };
        counted([0, 0]);
        let plain = TcpListener::bind("0.0.0.0:0").expect("a free port");
        let dual = TcpListener::bind("[::]:0").expect("a free port");
        let mut open = Vec::new();
        for (listener, to) in [
            (&plain, "10.77.0.100"),
            (&dual, "10.77.0.100"),
            (&dual, "fd77::100"),
            (&plain, "10.77.0.101"),
            (&plain, "10.77.0.1"),
        ] {
            open.push(connect(neighbour, listener, to));
        }
        counted([3, 1]);
        open.remove(0);
        counted([2, 1]);
        drop(open);
        fixture.stop();
    });
}

/// The thread that changes addresses gets a tenth of what each busy thread gets.
fn starve_the_kernel_thread() {
    let here = fs::read_link("/proc/thread-self/ns/net").expect("a thread has a namespace");
    let tasks = fs::read_dir("/proc/self/task").expect("a process lists its threads");
    let threads = tasks.map(|task| task.expect("a thread").path()).filter(|task| {
        // A thread of another test may end meanwhile.
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "kernel")
            && fs::read_link(task.join("ns/net")).is_ok_and(|space| space == here)
    });
    let threads: Vec<_> = threads.collect();
    let [thread] = threads.as_slice() else { panic!("one kernel thread, not {threads:?}") };
    let number = thread.file_name().expect("a number").to_string_lossy().into_owned();
    run("chrt", &format!("--other --pid 0 {number}"));
    run("renice", &format!("--priority 10 --pid {number}"));
}

/// Keeps every processor busy until dropped.
struct Busy(Arc<AtomicBool>, Vec<JoinHandle<()>>);

impl Busy {
    fn start() -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let processors = thread::available_parallelism().map_or(2, usize::from);
        let spin = |_| {
            let ended = Arc::clone(&ended);
            thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    spin_loop();
                }
            })
        };
        let threads = (0..2 * processors).map(spin).collect();
        Self(ended, threads)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        for thread in self.1.drain(..) {
            thread.join().expect("it only spins");
        }
    }
}

/// A thread that gets a fortieth of a busy processor has done the work of 0.1 s long before.
const STARVED: Duration = Duration::from_secs(60);

/// On a busy host the thread is called late, but what is to be ended is: work is counted, not time.
#[test]
fn clients_are_reset_by_a_starved_thread() {
    const CLIENTS: usize = 2000;
    alone("connections::clients_are_reset_by_a_starved_thread", |neighbour| {
        allow_descriptors(3 * CLIENTS);
        let fixture = Fixture::start(vec![group("eth0", &["10.77.0.100/32"])]);
        let web = key("10.77.0.100");
        fixture.kernel.acquire(web, Ticket(1));
        assert_eq!(fixture.next(), KernelEvent::Present { group: web, ticket: Ticket(1) });
        let listener = TcpListener::bind("0.0.0.0:0").expect("a free port");
        let open = (0..CLIENTS).map(|_| connect(neighbour, &listener, "10.77.0.100"));
        let (mut clients, served): (Vec<_>, Vec<_>) = open.unzip();

        starve_the_kernel_thread();
        let busy = Busy::start();
        fixture.kernel.release(web, Ticket(2));
        let absent = KernelEvent::Absent { group: web, ticket: Ticket(2) };
        assert_eq!(fixture.next_within(STARVED), Some(absent));
        drop(busy);
        let counters = fixture.kernel.counters();
        assert_eq!(counters.connections_ended.value(), CLIENTS as u64);
        assert_eq!(counters.connections_left.value(), 0);
        let reset = |client: &mut TcpStream| {
            let read = client.read(&mut [0]);
            read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
        };
        let hanging = clients.iter_mut().position(|client| !reset(client));
        assert_eq!(hanging, None, "this client was not reset");
        drop(served);
        fixture.stop();
    });
}

/// More than one slice of time is enough for (some 480): the address stays until all are ended.
#[test]
fn a_thousand_clients_are_all_reset() {
    const CLIENTS: usize = 1000;
    alone("connections::a_thousand_clients_are_all_reset", |neighbour| {
        allow_descriptors(3 * CLIENTS);
        let fixture = Fixture::start(vec![group("eth0", &["10.77.0.100/32"])]);
        let web = key("10.77.0.100");
        fixture.kernel.acquire(web, Ticket(1));
        assert_eq!(fixture.next(), KernelEvent::Present { group: web, ticket: Ticket(1) });
        let listener = TcpListener::bind("0.0.0.0:0").expect("a free port");
        let (mut clients, mut served) = (Vec::new(), Vec::new());
        for _ in 0..CLIENTS {
            let (client, server) = connect(neighbour, &listener, "10.77.0.100");
            clients.push(client);
            served.push(server);
        }

        fixture.kernel.release(web, Ticket(2));
        assert_eq!(fixture.next(), KernelEvent::Absent { group: web, ticket: Ticket(2) });
        let reset = |client: &mut TcpStream| {
            let read = client.read(&mut [0]);
            read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
        };
        let hanging = clients.iter_mut().position(|client| !reset(client));
        assert_eq!(hanging, None, "this client was not reset");
        let counters = fixture.kernel.counters();
        assert_eq!(counters.connections_ended.value(), CLIENTS as u64);
        assert_eq!(counters.connections_left.value(), 0);
        drop(served);
        fixture.stop();
    });
}
