//! A real bus with somebody on it who answers as systemd does.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::StreamExt;
use tokio::task::JoinHandle;
use zbus::MessageStream;
use zbus::message::{Message, Type};

use super::*;

const UNITS: [(&str, &str); 5] = [
    ("works", "active"),
    ("reads_again", "reloading"),
    ("stopped", "inactive"),
    ("broken", "failed"),
    ("hangs", ""),
];

/// A message bus of its own in a directory of its own; both go with it.
struct Bus {
    directory: PathBuf,
    daemon: Child,
}

impl Bus {
    fn start(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("buoy-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        let file = directory.join("bus.conf");
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}/bus</listen>\
             <policy context=\"default\"><allow send_destination=\"*\"/><allow own=\"*\"/>\
             <allow receive_sender=\"*\"/></policy></busconfig>",
            directory.display()
        );
        fs::write(&file, text).unwrap();
        let daemon = Self::run(&directory);
        Self { directory, daemon }
    }

    /// Returns when it listens, which is when it prints its address.
    fn run(directory: &std::path::Path) -> Child {
        let _ = fs::remove_file(directory.join("bus"));
        let mut daemon = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", directory.join("bus.conf").display()))
            .args(["--nofork", "--nosyslog", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon runs (Debian: apt-get install dbus-daemon)");
        let mut line = String::new();
        let mut said = std::io::BufReader::new(daemon.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut said, &mut line).unwrap();
        assert!(line.starts_with("unix:path="), "dbus-daemon said {line:?}");
        daemon
    }

    fn restart(&mut self) {
        self.end();
        self.daemon = Self::run(&self.directory);
    }

    fn end(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }

    fn address(&self) -> String {
        format!("unix:path={}/bus", self.directory.display())
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.end();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Comes onto the bus, and answers like systemd until the bus is gone.
async fn be_systemd(bus: &Bus) -> JoinHandle<zbus::Result<()>> {
    let connection = Builder::address(bus.address().as_str()).build().await.expect("a bus");
    let mut calls = MessageStream::from(&connection);
    connection.request_name(SYSTEMD).await.expect("nobody else has the name");
    tokio::spawn(async move {
        while let Some(call) = calls.next().await {
            answer(&connection, &call?).await?;
        }
        Ok(())
    })
}

async fn answer(bus: &Connection, call: &Message) -> zbus::Result<()> {
    let (header, body) = (call.header(), call.body());
    if call.message_type() != Type::MethodCall {
        return Ok(());
    }
    match header.member().map(|member| member.as_str()) {
        Some("GetUnit") => {
            let unit: String = body.deserialize()?;
            let name = unit.strip_suffix(".service").unwrap_or_default();
            if UNITS.iter().all(|(unit, _)| *unit != name) {
                let text = format!("Unit {unit} not loaded.");
                return bus.reply_error(&header, NO_SUCH_UNIT, &text).await;
            }
            let path = OwnedObjectPath::try_from(format!("/org/freedesktop/systemd1/unit/{name}"))?;
            bus.reply(&header, &path).await
        }
        Some("Get") => {
            assert_eq!(
                body.deserialize::<(String, String)>()?,
                (UNIT.into(), "ActiveState".into())
            );
            let path = header.path().map(|path| path.as_str()).unwrap_or_default();
            let unit = UNITS.iter().find(|(unit, _)| path.ends_with(&format!("/unit/{unit}")));
            match unit {
                Some(("hangs", _)) | None => Ok(()),
                Some((_, state)) => bus.reply(&header, &Variant::from(*state)).await,
            }
        }
        _ => Ok(()),
    }
}

fn block_on(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let limit = tokio::time::timeout(Duration::from_secs(20), test);
        limit.await.expect("the test ends in time");
    });
}

#[test]
fn the_state_of_a_unit_decides() {
    let bus = Bus::start("units");
    block_on(async {
        let systemd = be_systemd(&bus).await;
        let mut manager = Manager { address: Some(bus.address()), connection: None };
        let fails = |words: &str| Err(words.to_owned());
        let works = manager.look("works.service").await;
        assert_eq!(works, Ok("active".to_owned()));
        let first = manager.connection.as_ref().and_then(|kept| kept.unique_name().cloned());
        assert_eq!(manager.look("reads_again.service").await, Ok("reloading".to_owned()));
        assert_eq!(manager.look("stopped.service").await, fails("inactive"));
        assert_eq!(manager.look("broken.service").await, fails("failed"));
        assert_eq!(
            manager.look("unknown.service").await,
            fails("not loaded: it is inactive, or there is no such unit")
        );
        let last = manager.connection.as_ref().and_then(|kept| kept.unique_name().cloned());
        assert_eq!(first, last, "one connection serves all looks");
        systemd.abort();
    });
}

#[test]
fn a_look_that_is_cancelled_does_not_spoil_the_next() {
    let bus = Bus::start("hanging");
    block_on(async {
        let systemd = be_systemd(&bus).await;
        let mut manager = Manager { address: Some(bus.address()), connection: None };
        manager.look("works.service").await.expect("it works");
        let limit = Duration::from_millis(100);
        let hung = tokio::time::timeout(limit, manager.look("hangs.service")).await;
        assert!(hung.is_err(), "{hung:?}");
        assert_eq!(manager.look("works.service").await, Ok("active".to_owned()));
        systemd.abort();
    });
}

#[test]
fn a_bus_that_is_gone_fails_and_one_that_is_back_is_found() {
    let mut bus = Bus::start("restarted");
    block_on(async {
        let systemd = be_systemd(&bus).await;
        let mut manager = Manager { address: Some(bus.address()), connection: None };
        manager.look("works.service").await.expect("it works");
        bus.restart();
        let gone = manager.look("works.service").await.expect_err("nobody is there");
        assert!(gone.starts_with("systemd cannot be asked: "), "{gone}");
        let alone = manager.look("works.service").await.expect_err("systemd is not there yet");
        assert!(alone.contains("ServiceUnknown"), "{alone}");
        systemd.abort();
        let systemd = be_systemd(&bus).await;
        let works = manager.look("works.service").await;
        assert_eq!(works, Ok("active".to_owned()));
        systemd.abort();
    });
    let nowhere = format!("{}x", bus.address());
    block_on(async {
        let mut manager = Manager { address: Some(nowhere), connection: None };
        let words = manager.look("works.service").await.expect_err("there is no bus");
        assert!(words.contains("No such file or directory"), "{words}");
    });
}
