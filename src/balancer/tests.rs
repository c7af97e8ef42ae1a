//! A HAProxy that is told, restarted, silent, mad and gone. It is played by a few lines here; the
//! real one is in the namespace tests.

use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const LIST: &str = "/draining.lst";

/// Plays a HAProxy: a list, and how it answers.
#[derive(Clone, Debug, Default)]
struct Played {
    entries: Arc<Mutex<Vec<String>>>,
    /// In place of an answer that makes sense.
    says: Arc<Mutex<Option<String>>>,
}

impl Played {
    async fn start(&self) -> (Endpoint, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = Endpoint::Tcp(listener.local_addr().unwrap());
        let this = self.clone();
        let body = async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut line = [0; 4096];
                let length = stream.read(&mut line).await.unwrap();
                let answer = this.answer(std::str::from_utf8(&line[..length]).unwrap());
                // Whoever asked may have given up.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        };
        (at, tokio::spawn(body))
    }

    fn answer(&self, line: &str) -> String {
        if let Some(said) = &*self.says.lock().unwrap() {
            return said.clone();
        }
        let mut entries = self.entries.lock().unwrap();
        let mut answer = String::new();
        for command in line.trim().split(';') {
            let words: Vec<&str> = command.split(' ').collect();
            assert_eq!((words[1], words[2]), ("acl", LIST));
            match words[0] {
                "add" => entries.push(words[3].to_owned()),
                "del" => entries.retain(|entry| entry != words[3]),
                _ => answer.extend(entries.iter().map(|entry| format!("0x1f {entry}\n"))),
            }
            answer.push('\n');
        }
        answer
    }

    fn entries(&self) -> Vec<String> {
        self.entries.lock().unwrap().clone()
    }
}

fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

fn wanted(at: Endpoint, draining: bool) -> Wanted {
    let addresses = ["10.77.0.100", "fd77::100"].map(|text| text.parse().unwrap()).into();
    Wanted {
        haproxy: Some(HaproxyConfig { at, list: LIST.to_owned(), master: None }),
        draining,
        addresses,
    }
}

async fn next(balancer: &mut Balancer) -> News {
    timeout(PATIENCE, balancer.next()).await.expect("news come")
}

#[test]
fn it_is_told_when_draining_begins_and_ends_and_again_when_it_has_forgotten() {
    block_on(async {
        let played = Played::default();
        let (at, _task) = played.start().await;
        let mut balancer = Balancer::start(wanted(at, true));
        assert_eq!(next(&mut balancer).await, News::Told(2));
        assert_eq!(played.entries(), ["10.77.0.100", "fd77::100"]);
        played.entries.lock().unwrap().clear();
        assert_eq!(next(&mut balancer).await, News::Told(2), "it was reloaded");
        balancer.change(|wanted| wanted.draining = false);
        assert_eq!(next(&mut balancer).await, News::Told(0));
        assert!(played.entries().is_empty());
    });
}

#[test]
fn what_a_killed_daemon_left_is_taken_away_at_the_next_start() {
    block_on(async {
        let played = Played::default();
        *played.entries.lock().unwrap() = vec!["10.77.0.99".to_owned()];
        let (at, _task) = played.start().await;
        let mut balancer = Balancer::start(wanted(at, false));
        assert_eq!(next(&mut balancer).await, News::Told(0));
        assert!(played.entries().is_empty());
    });
}

#[test]
fn nonsense_and_absence_are_told_once_and_end() {
    block_on(async {
        let played = Played::default();
        *played.says.lock().unwrap() = Some("HTTP/1.1 400 Bad request\r\n".to_owned());
        let (at, task) = played.start().await;
        let mut balancer = Balancer::start(wanted(at, true));
        assert_eq!(next(&mut balancer).await, News::Failed(list::NONSENSE.to_owned()));
        *played.says.lock().unwrap() = None;
        assert_eq!(next(&mut balancer).await, News::Back);
        assert_eq!(next(&mut balancer).await, News::Told(2));
        task.abort();
        let gone = News::Failed("connecting failed: connection refused".to_owned());
        assert_eq!(next(&mut balancer).await, gone);
    });
}

#[test]
fn one_that_hangs_has_failed_after_a_second() {
    block_on(async {
        // The kernel accepts for it.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = Endpoint::Tcp(listener.local_addr().unwrap());
        let mut balancer = Balancer::start(wanted(at, true));
        assert_eq!(next(&mut balancer).await, News::Failed("no answer within 1s".to_owned()));
    });
}
