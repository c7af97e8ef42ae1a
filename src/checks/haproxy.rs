//! Asks a HAProxy through its stats socket whether it works.
//!
//! ```text
//!  > show info;show stat -1 3 -1          (-1: all proxies, 3: frontends and backends, no servers)
//!  < Name: HAProxy ... Pid: 4711 ... Stopping: 0
//!  <
//!  < # pxname,svname,...,status,...,act,bck,...
//!  < www,FRONTEND,...,OPEN,...
//!  < app,BACKEND,...,UP,...,2,0,...
//! ```
//!
//! It passes when it is a HAProxy that is not stopping, every named frontend is `OPEN`, and every
//! named backend has a server that is up. Columns are found by the names in the first line, as its
//! management guide (9.1) demands. An answer that does not look like that, or is longer than
//! [`ANSWER_MAX`], has failed.

use tokio::io::AsyncWriteExt;

use super::{Look, stream};
use crate::config::Endpoint;

/// Bytes of the whole answer: two thousand proxies, without their servers.
const ANSWER_MAX: usize = 1024 * 1024;
const QUESTION: &[u8] = b"show info;show stat -1 3 -1\n";

/// Asks once.
pub(super) async fn look(at: &Endpoint, frontends: &[String], backends: &[String]) -> Look {
    let mut stream = stream::connect(at).await?;
    let broken = |error| format!("the connection broke: {}", stream::short(&error));
    stream.write_all(QUESTION).await.map_err(broken)?;
    let mut answer = Vec::new();
    let read = stream::read_until(&mut stream, &mut answer, ANSWER_MAX, |_| false);
    if !read.await.map_err(broken)? {
        return Err(format!("the answer is longer than {ANSWER_MAX} bytes"));
    }
    let text = std::str::from_utf8(&answer).map_err(|_| NONSENSE)?;
    judge(text, frontends, backends)
}

const NONSENSE: &str = "the answer is not from HAProxy";

fn judge(text: &str, frontends: &[String], backends: &[String]) -> Look {
    let (info, table) = text.split_once("# pxname,").ok_or(NONSENSE)?;
    let field = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::trim)
    };
    let pid: u32 = match (field("Name"), field("Pid").map(str::parse)) {
        (Some("HAProxy"), Some(Ok(pid))) => pid,
        (Some(_) | None, Some(Ok(_) | Err(_)) | None) => return Err(NONSENSE.to_owned()),
    };
    if field("Stopping").is_some_and(|stopping| stopping != "0") {
        return Err(format!("process {pid} is stopping"));
    }
    let mut lines = table.lines();
    let header = lines.next().ok_or(NONSENSE)?;
    let columns = Columns::read(header).ok_or(NONSENSE)?;
    let rows: Vec<Row<'_>> = lines
        .take_while(|line| !line.is_empty())
        .map(|line| columns.row(line).ok_or(NONSENSE))
        .collect::<Result<_, _>>()?;
    for name in frontends {
        let row = find(&rows, name, "FRONTEND").ok_or(format!("it has no frontend {name}"))?;
        if row.status != "OPEN" {
            return Err(format!("frontend {name} is {}", row.status));
        }
    }
    for name in backends {
        let row = find(&rows, name, "BACKEND").ok_or(format!("it has no backend {name}"))?;
        if row.up == 0 {
            return Err(format!("backend {name} has no server that is up"));
        }
    }
    Ok(format!("process {pid} works"))
}

fn find<'a>(rows: &'a [Row<'a>], proxy: &str, side: &str) -> Option<&'a Row<'a>> {
    rows.iter().find(|row| row.proxy == proxy && row.side == side)
}

/// A frontend or backend.
struct Row<'a> {
    proxy: &'a str,
    side: &'a str,
    status: &'a str,
    /// Servers, active and backup ones, that are up.
    up: u32,
}

/// Where in a line something stands. The first two are fixed.
struct Columns {
    count: usize,
    status: usize,
    active: usize,
    backup: usize,
}

impl Columns {
    /// Reads the names; the first, `pxname`, has been taken off.
    fn read(header: &str) -> Option<Self> {
        let names: Vec<&str> = header.split(',').collect();
        let place = |wanted| names.iter().position(|name| *name == wanted).map(|at| at + 1);
        (names.first() == Some(&"svname")).then_some(())?;
        let (status, active, backup) = (place("status")?, place("act")?, place("bck")?);
        Some(Self { count: names.len() + 1, status, active, backup })
    }

    fn row<'a>(&self, line: &'a str) -> Option<Row<'a>> {
        let fields = split(line);
        // Some versions end each line with a comma.
        if fields.len() + 1 < self.count || fields.len() > self.count + 1 {
            return None;
        }
        let number = |at: usize| match fields.get(at) {
            Some(&"") | None => Some(0),
            Some(text) => text.parse::<u32>().ok(),
        };
        Some(Row {
            proxy: fields.first()?,
            side: fields.get(1)?,
            status: fields.get(self.status)?,
            up: number(self.active)?.saturating_add(number(self.backup)?),
        })
    }
}

/// Fields of one line; quoted ones may hold commas.
fn split(line: &str) -> Vec<&str> {
    let mut quoted = false;
    let at_comma = |letter: char| {
        quoted ^= letter == '"';
        letter == ',' && !quoted
    };
    line.split(at_comma).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "Name: HAProxy\nVersion: 3.0.11\nPid: 4711\nStopping: 0\n\n";
    const TABLE: &str = "# pxname,svname,qcur,status,weight,act,bck,desc,\n\
        www,FRONTEND,,OPEN,,,,\"a, b\",\n\
        old,FRONTEND,,STOP,,,,,\n\
        app,BACKEND,0,UP,1,2,0,,\n\
        dead,BACKEND,0,DOWN,1,0,0,,\n\
        spare,BACKEND,0,UP,1,0,1,,\n\n";

    fn judged(frontends: &[&str], backends: &[&str]) -> Look {
        let names =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        judge(&format!("{INFO}{TABLE}"), &names(frontends), &names(backends))
    }

    #[test]
    fn named_proxies_decide() {
        let works = Ok("process 4711 works".to_owned());
        let bad = |words: &str| Err(words.to_owned());
        assert_eq!(judged(&[], &[]), works);
        assert_eq!(judged(&["www"], &["app", "spare"]), works);
        assert_eq!(judged(&["old"], &[]), bad("frontend old is STOP"));
        assert_eq!(judged(&["app"], &[]), bad("it has no frontend app"));
        assert_eq!(judged(&[], &["dead"]), bad("backend dead has no server that is up"));
        assert_eq!(judged(&[], &["www"]), bad("it has no backend www"));
    }

    #[test]
    fn nonsense_fails() {
        let whole = format!("{INFO}{TABLE}");
        let stopping = whole.replace("Stopping: 0", "Stopping: 1");
        assert_eq!(judge(&stopping, &[], &[]), Err("process 4711 is stopping".to_owned()));
        for (from, to) in [
            ("Name: HAProxy", "Name: Other"),
            ("Pid: 4711", "Pid: many"),
            ("# pxname,", "# name,"),
            (",svname,", ",server,"),
            (",status,", ",state,"),
            ("www,FRONTEND,,OPEN,,,,\"a, b\",", "www,FRONTEND,OPEN"),
            ("app,BACKEND,0,UP,1,2,", "app,BACKEND,0,UP,1,two,"),
            (INFO, ""),
            (TABLE, ""),
        ] {
            let text = whole.replace(from, to);
            assert_eq!(judge(&text, &[], &[]), Err(NONSENSE.to_owned()), "{from:?} -> {to:?}");
        }
        for length in 0..whole.len() {
            // Cut anywhere it may be incomplete, but must not panic.
            let _ = judge(&whole[..length], &["www".to_owned()], &["spare".to_owned()]);
        }
    }
}
