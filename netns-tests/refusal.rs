//! What a daemon must refuse: datagrams of unknown senders, and starting where it cannot work.

use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::fault::Fault;
use buoy::lab::namespace::Namespace;
use buoy::lab::plan::{Shape, vip};
use buoy::lab::process::Process;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{PROGRAM, SOON, Scene, with, with_unstarted};
use crate::until::{throughout, until};

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[
    ("node_with_wrong_key_takes_no_part", node_with_wrong_key_takes_no_part),
    ("replayed_datagrams_change_nothing", replayed_datagrams_change_nothing),
    ("forged_datagrams_change_nothing", forged_datagrams_change_nothing),
    ("start_without_permission_is_refused", start_without_permission_is_refused),
    ("start_on_a_busy_port_is_refused", start_on_a_busy_port_is_refused),
    ("start_with_a_bad_key_file_is_refused", start_with_a_bad_key_file_is_refused),
    ("no_answer_and_no_log_shows_a_key", no_answer_and_no_log_shows_a_key),
];

const PORT: u16 = 4748;
/// A refused start ends so soon.
const REFUSAL_MAX: Duration = Duration::from_secs(5);

/// The third node has another key: the others do not know it and serve everything; it takes
/// nothing from them.
fn node_with_wrong_key_takes_no_part() -> Outcome {
    with_unstarted(&Shape::default(), |scene| {
        let key = scene.cluster.node_directory(2).join("cluster.key");
        fs::remove_file(&key)?;
        let made = Command::new(PROGRAM).arg("keygen").arg(&key).output()?;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        scene.cluster.start_all()?;
        until("all is served", SOON, || scene.each_on_one_node())?;
        let begin = clock::now();
        throughout("all is served by the two", Duration::from_secs(5), || {
            match scene.owned_by(2).len() {
                0 => scene.none_misplaced(),
                some => Err(format!("the unknown sender answers for {some}")),
            }
        })?;
        scene.nothing_happened(begin)?;
        for node in [0, 1] {
            let state = scene.state_of(node, 2);
            assert_ne!(state.as_deref(), Some("up"), "an unknown sender counts as up");
        }
        let lines = scene.cluster.log(0).lines().count();
        assert!(lines < 200, "an unknown sender made the log {lines} lines long");
        Ok(())
    })
}

/// Everything that a node said is recorded; then its host dies, and the record is played to the
/// others again and again with its address as sender: they take over and do not believe it alive.
fn replayed_datagrams_change_nothing() -> Outcome {
    with(&Shape::default(), |scene| {
        let victim = scene.owner(vip(100))?;
        let other = (victim + 1) % 3;
        let recorded = record(scene, victim, other, 15)?;
        assert!(recorded.len() >= 15, "only {} recorded", recorded.len());
        let begin = clock::now();
        replay(scene, &recorded)?;
        clock::pause(Duration::from_millis(500));
        scene.nothing_happened(begin)?;
        Fault::HostDeath.begin(&mut scene.cluster, victim)?;
        let others: Vec<_> = (0..3).filter(|node| *node != victim).collect();
        until("the others have taken over and shared", SOON, || {
            replay(scene, &recorded).map_err(|error| error.to_string())?;
            match scene.owned_by(victim).len() {
                0 => scene.balanced(&others),
                some => Err(format!("the dead node answers for {some}")),
            }
        })?;
        scene.at_rest()?;
        scene.sees(other, victim, "dead")?;
        let rest = clock::now();
        throughout("it is dead for them", Duration::from_secs(2), || {
            replay(scene, &recorded).map_err(|error| error.to_string())?;
            match scene.state_of(other, victim).as_deref() {
                Some("dead") => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        })?;
        scene.nothing_happened(rest)
    })
}

/// Datagrams in a node's name that it never sent: noise of all lengths, true ones cut short, with
/// one bit flipped, or made longer. Nothing changes, nothing ends, the log stays short.
fn forged_datagrams_change_nothing() -> Outcome {
    with(&Shape::default(), |scene| {
        let recorded = record(scene, 0, 1, 3)?;
        let payload = &recorded.first().ok_or("nothing recorded")?[28..];
        let mut forged: Vec<Vec<u8>> = Vec::new();
        for length in (0..1400).step_by(7) {
            let noise = (0..length).map(|at: usize| (at.wrapping_mul(197) >> 3).to_le_bytes()[0]);
            forged.push(noise.collect());
        }
        forged.extend((0..payload.len()).map(|length| payload[..length].to_vec()));
        for bit in 0..payload.len() * 8 {
            let mut flipped = payload.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            forged.push(flipped);
        }
        forged.push([payload, &[0; 900]].concat());
        let begin = clock::now();
        let from = SocketAddr::new(Shape::node_address(0, 0), PORT);
        let to = SocketAddr::new(Shape::node_address(1, 0), PORT);
        let datagrams: Vec<_> = forged.iter().map(|bytes| datagram(from, to, bytes)).collect();
        for chunk in datagrams.chunks(50) {
            replay(scene, chunk)?;
            clock::pause(Duration::from_millis(5));
        }
        clock::pause(Duration::from_secs(1));
        scene.nothing_happened(begin)?;
        for node in 0..3 {
            let process = scene.cluster.process(node).ok_or("it was started")?;
            assert!(process.ended().is_none(), "{} ended", scene.cluster.name(node));
            scene.sees(node, (node + 1) % 3, "up")?;
        }
        let lines = scene.cluster.log(1).lines().count();
        assert!(lines < 300, "{} forged datagrams made the log {lines} lines long", forged.len());
        Ok(())
    })
}

/// Without the right to change the network the daemon says so in one sentence and ends.
fn start_without_permission_is_refused() -> Outcome {
    with_unstarted(&Shape::default(), |scene| {
        let words = ["--bounding-set=-net_admin,-net_raw", "--inh-caps=-all", "--", PROGRAM];
        let mut arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        arguments.extend(run_arguments(scene, 0));
        let (code, said) = refused(scene, Path::new("setpriv"), &arguments)?;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("CAP_NET_ADMIN"), "it does not name what is missing: {said}");
        Ok(())
    })
}

/// Somebody else has the port: the daemon says which one and ends.
fn start_on_a_busy_port_is_refused() -> Outcome {
    with_unstarted(&Shape::default(), |scene| {
        let address = SocketAddr::new(Shape::node_address(0, 0), PORT);
        let _taken = scene.cluster.namespace(0).run(|| UdpSocket::bind(address))??;
        let (code, said) = refused(scene, Path::new(PROGRAM), &run_arguments(scene, 0))?;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("4748"), "it does not name the port: {said}");
        Ok(())
    })
}

/// A key that others can read, and a key that is not there: refused as a fault of the
/// configuration, naming the file.
fn start_with_a_bad_key_file_is_refused() -> Outcome {
    with_unstarted(&Shape::default(), |scene| {
        let key = scene.cluster.node_directory(0).join("cluster.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
        let (code, said) = refused(scene, Path::new(PROGRAM), &run_arguments(scene, 0))?;
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("cluster.key"), "it does not name the file: {said}");
        fs::remove_file(&key)?;
        let (code, said) = refused(scene, Path::new(PROGRAM), &run_arguments(scene, 0))?;
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("cluster.key"), "it does not name the file: {said}");
        Ok(())
    })
}

pub(crate) fn run_arguments(scene: &Scene, node: usize) -> Vec<String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let words = ["run", "--node", scene.cluster.name(node), "--config"];
    let mut arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    arguments.push(text(&scene.cluster.configuration_file(node)));
    arguments.push("--runtime-dir".to_owned());
    arguments.push(text(&scene.cluster.runtime_directory(node)));
    arguments
}

/// Starts a program on the first node that is to end by itself; gives its code and what it said.
pub(crate) fn refused(
    scene: &Scene,
    program: &Path,
    arguments: &[String],
) -> Result<(Option<i32>, String), Box<dyn std::error::Error>> {
    let log = scene.cluster.node_directory(0).join("refusal");
    let _ = fs::remove_file(&log);
    let process = Process::start(scene.cluster.namespace(0), program, arguments, &log)?;
    let status = process.wait(REFUSAL_MAX).ok_or("it goes on running")?;
    let said = fs::read_to_string(log)?;
    let kernel = scene.cluster.kernel(0)?;
    assert!(scene.served.iter().all(|vip| !kernel.holds(*vip)), "it took addresses: {said}");
    Ok((status.code(), said))
}

/// Waits for so many heartbeats from one node to another; gives them as IPv4 packets.
fn record(scene: &Scene, from: usize, to: usize, count: usize) -> io::Result<Vec<Vec<u8>>> {
    let source = Shape::node_address(u8::try_from(from).unwrap_or(0), 0);
    let open = || {
        let protocol = Protocol::from(i32::from(0x0800_u16.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok::<_, io::Error>(socket)
    };
    let mut socket = scene.cluster.namespace(to).run(open).map_err(io::Error::other)??;
    let mut recorded = Vec::new();
    let mut frame = [0; 2048];
    let deadline = clock::now() + SOON;
    while recorded.len() < count && clock::now() < deadline {
        let length = socket.read(&mut frame)?;
        let Some(packet) = frame.get(14..length) else { continue };
        let header: Option<&[u8; 28]> = packet.first_chunk();
        let Some(header) = header else { continue };
        let udp = header[9] == 17 && header[22..24] == PORT.to_be_bytes();
        if udp && IpAddr::from([header[12], header[13], header[14], header[15]]) == source {
            let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
            recorded.extend(packet.get(..total).map(<[u8]>::to_vec));
        }
    }
    Ok(recorded)
}

/// Sends recorded packets from the client's host, as they were.
fn replay(scene: &Scene, packets: &[Vec<u8>]) -> Outcome {
    let client: &Namespace = scene.cluster.client();
    // IPPROTO_RAW: the header is ours, with whatever sender it names.
    let open = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)));
    let socket = client.run(open)??;
    for packet in packets {
        let Some(to) = packet.get(16..20).and_then(|to| <[u8; 4]>::try_from(to).ok()) else {
            return Err("a packet without a header".into());
        };
        socket.send_to(packet, &SockAddr::from(SocketAddr::from((to, 0))))?;
    }
    Ok(())
}

/// An IPv4 packet with a UDP datagram, without the optional checksum.
fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let octets = |address: SocketAddr| match address.ip() {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED.octets(),
    };
    let udp_length = u16::try_from(payload.len() + 8).unwrap_or(u16::MAX);
    let mut packet = vec![0x45, 0];
    // The kernel fills in checksum and identification of the header.
    packet.extend((udp_length + 20).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(octets(from));
    packet.extend(octets(to));
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(udp_length.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    packet
}

/// Whoever may use the socket, and may not read the key, is told nothing of it: not by a plan, and
/// not when the file in force is replaced by the key, or by a FIFO, and loaded again.
fn no_answer_and_no_log_shows_a_key() -> Outcome {
    with(&Shape { nodes: 2, ..Shape::default() }, |scene| {
        let file = scene.cluster.configuration_file(0);
        let good = fs::read_to_string(&file)?;
        let key_file = file.parent().ok_or("a directory")?.join("cluster.key");
        let text = fs::read_to_string(&key_file)?;
        let mut words = text.split_whitespace();
        let key = words.rfind(|word| word.len() == 64).ok_or("a key")?.to_owned();
        let socket = scene.cluster.runtime_directory(0).join("control.sock");
        let texts = [
            key.clone(),
            text.clone(),
            format!("key = {key}\n"),
            format!("{key} = \"{key}\"\n"),
            format!("{good}\n{key}\n"),
            good.replace("name = \"", &format!("name = \"{key}")),
        ];
        let mut said = String::new();
        for text in &texts {
            let request = serde_json::json!({ "request": "plan", "text": text });
            said.push_str(&ask(&socket, &request.to_string())?);
        }
        let by_path = serde_json::json!({ "request": "plan", "config": key_file });
        let refused = ask(&socket, &by_path.to_string())?;
        assert!(refused.contains("path_refused"), "{refused}");
        said.push_str(&refused);
        for text in &texts {
            fs::write(&file, text)?;
            said.push_str(&ask(&socket, r#"{"request":"reload"}"#)?);
        }
        fs::remove_file(&file)?;
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU)?;
        let refused = ask(&socket, r#"{"request":"reload"}"#)?;
        assert!(refused.contains("is not a regular file"), "{refused}");
        scene.cluster.signal(0, nix::sys::signal::Signal::SIGHUP);
        until("the log tells of it", SOON, || {
            let told = scene.cluster.log(0).contains("is not a regular file");
            if told { Ok(()) } else { Err("not told".to_owned()) }
        })?;
        said.push_str(&ask(&socket, r#"{"request":"status"}"#)?);
        said.push_str(&scene.cluster.log(0));
        assert_eq!(said.matches("refused").count().min(12), 12, "{said}");
        let pieces = (0..=key.len() - 8).map(|start| &key[start..start + 8]);
        let shown: Vec<&str> = pieces.filter(|piece| said.contains(piece)).collect();
        assert!(shown.is_empty(), "{shown:?} of the key in\n{said}");
        Ok(())
    })
}

fn ask(socket: &Path, request: &str) -> io::Result<String> {
    use std::io::{BufRead, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(SOON + Duration::from_secs(10)))?;
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut answer = String::new();
    io::BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}
