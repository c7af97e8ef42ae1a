//! `buoy events --all-nodes`: asks the own daemon for its events, and a command for those of every
//! other node. All are asked at once, each for a limited time and for a limited amount.

use std::io;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::control::client::{self, Command as Question};
use crate::control::merged_events::{Record, merge};
use crate::control::response::{Event, Status};
use crate::control::selection::Selection;
use crate::exit::Exit;

use super::{Streams, inquiry, outside};

/// How other nodes are asked unless `--via` says otherwise.
pub(super) const VIA: &str = "ssh -o BatchMode=yes -o ConnectTimeout=5 {node} buoy events --json";
/// A node that has not answered by then has no record.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Twice what the files of a node hold.
const RECORD_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What the story is to be of.
pub(super) struct Wanted {
    /// Only the last period.
    pub(super) since: Option<Duration>,
    /// Only this group.
    pub(super) group: Option<String>,
    /// The command that prints the events of a node as JSON; `--since` is added to it.
    pub(super) via: String,
}

/// Writes the story.
pub(super) fn run(
    wanted: &Wanted,
    socket: &Path,
    json: bool,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let records = match ask_all(wanted, socket) {
        Ok(records) => records,
        Err(error) => return inquiry::failed(&error, json, streams),
    };
    let story = merge(records);
    let text = if json { story.json().map_err(io::Error::other)? } else { story.text() };
    streams.out.write_all(text.as_bytes())?;
    let missing = story.origins.iter().any(|origin| origin.error.is_some());
    Ok(if missing { Exit::Failed } else { Exit::Done })
}

/// Returns the records of this node, which is the first, and of the others in the order of the file.
fn ask_all(wanted: &Wanted, socket: &Path) -> Result<Vec<Record>, client::Error> {
    let status = ask(&Question::Status(Selection::default()), socket)?;
    let status: Status = serde_json::from_slice(&status).map_err(client::Error::NotUnderstood)?;
    let (since, group) = (wanted.since, wanted.group.clone());
    let own = ask(&Question::Events { since, group: group.clone(), follow: false }, socket)?;
    let own = events(&own).map_err(client::Error::NotUnderstood)?;
    // By its name, whatever it was called.
    let group = own.iter().find_map(|event| event.group.clone()).or(group);
    let since =
        wanted.since.map_or_else(String::new, |since| format!(" --since {}s", since.as_secs()));
    let via = format!("{}{since}", wanted.via);
    let others: Vec<_> = status.nodes.iter().filter(|node| node.name != status.node).collect();
    let asked: Vec<_> = others
        .into_iter()
        .map(|node| {
            let (name, via) = (node.name.clone(), via.clone());
            let thread = thread::spawn(move || ask_other(&via, &name));
            (node.name.clone(), thread)
        })
        .collect();
    let mut records = vec![Record { node: status.node, events: Ok(own) }];
    for (node, thread) in asked {
        let answer = thread.join().unwrap_or_else(|_| Err("it could not be asked".to_owned()));
        let of_group = |event: &Event| wanted.group.is_none() || event.group == group;
        let events = answer.map(|events| events.into_iter().filter(of_group).collect());
        records.push(Record { node, events });
    }
    Ok(records)
}

fn ask(question: &Question, socket: &Path) -> Result<Vec<u8>, client::Error> {
    let mut answer = Vec::new();
    client::run(question, socket, true, &mut answer).map(|()| answer)
}

fn events(lines: &[u8]) -> serde_json::Result<Vec<Event>> {
    serde_json::Deserializer::from_slice(lines).into_iter().collect()
}

/// Returns the events of another node, or why there are none.
fn ask_other(via: &str, node: &str) -> Result<Vec<Event>, String> {
    if node.starts_with('-') {
        return Err("its name looks like an option of the command".to_owned());
    }
    let command = via.replace("{node}", node);
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(&command);
    let out = outside::output(&mut shell, ANSWER_WITHIN, RECORD_BYTES_MAX)?;
    events(&out).map_err(|error| format!("its answer is not understood: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_asked_by_a_command_whose_failure_is_its_answer() {
        let line = concat!(
            r#"{"seq":1,"time":"2024-02-29T12:34:56.000Z","kind":"stalled","observer":"lb2","#,
            r#""node":null,"pool":null,"group":null,"from":null,"to":null,"epoch":null,"#,
            r#""cause":null,"sentence":"{node}"}"#
        );
        let answer = ask_other(&format!("echo '{line}'"), "lb2").unwrap();
        assert_eq!(answer[0].sentence, "lb2");
        let refused = |via| ask_other(via, "lb2").unwrap_err();
        assert_eq!(refused("echo no route >&2; exit 255"), "no route");
        assert_eq!(refused("exit 4"), "exit status: 4");
        assert!(refused("echo hello").starts_with("its answer is not understood: "));
        let name = ask_other("echo", "-oProxyCommand=x").unwrap_err();
        assert_eq!(name, "its name looks like an option of the command");
    }
}
