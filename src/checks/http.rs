//! Asks an HTTP server and judges its answer.
//!
//! HTTP/1.1 with `Connection: close`, over TCP, a socket in the file system, or TLS. Read are the
//! head and, if it is wanted, the beginning of the body; a server that never ends costs no more
//! than that and the timeout. Redirections are answers like others and not followed.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::response::{BODY_MAX, HEAD_MAX, Head, Nonsense};
use super::tls::Trust;
use super::{Look, stream};
use crate::config::HttpCheck;

/// Asks one server again and again.
pub(super) struct Asker {
    wanted: HttpCheck,
    trust: Option<Trust>,
}

impl Asker {
    pub(super) fn new(wanted: HttpCheck) -> Self {
        let trust = wanted.tls.clone().map(Trust::new);
        Self { wanted, trust }
    }

    /// Asks once.
    pub(super) async fn look(&mut self) -> Look {
        let stream = stream::connect(&self.wanted.at).await?;
        match &mut self.trust {
            Some(trust) => {
                let stream = trust.connect(&self.wanted.host, stream).await?;
                ask(stream, &self.wanted).await
            }
            None => ask(stream, &self.wanted).await,
        }
    }
}

fn request(wanted: &HttpCheck) -> String {
    // An address of IPv6 stands in brackets there.
    let v6 = wanted.host.parse::<std::net::Ipv6Addr>().is_ok();
    let host = if v6 { format!("[{}]", wanted.host) } else { wanted.host.clone() };
    format!(
        "{} {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: buoy\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n",
        wanted.method, wanted.path
    )
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, wanted: &HttpCheck) -> Look {
    let broken = |error: std::io::Error| format!("the connection broke: {}", stream::short(&error));
    stream.write_all(request(wanted).as_bytes()).await.map_err(broken)?;
    // With TLS the request may lie in a buffer until then.
    stream.flush().await.map_err(broken)?;
    let mut bytes = Vec::new();
    let unfinished = |bytes: &[u8]| matches!(Head::read(bytes), Ok(None));
    stream::read_until(&mut stream, &mut bytes, HEAD_MAX, |bytes| {
        !bytes.is_empty() && !unfinished(bytes)
    })
    .await
    .map_err(broken)?;
    if bytes.is_empty() {
        return Err("the server closed the connection without an answer".to_owned());
    }
    let say = |nonsense: Nonsense| nonsense.to_string();
    let head = Head::read(&bytes).map_err(say)?;
    let head = head.ok_or("the answer ends within its head")?;
    judge_head(&head, wanted)?;
    let Some(text) = &wanted.body else { return Ok(format!("status {}", head.status)) };
    let most = head.length + BODY_MAX;
    let found = |bytes: &[u8]| match head.body(bytes) {
        Ok((body, whole)) => whole || contains(&body, text.as_bytes()),
        Err(_) => true,
    };
    stream::read_until(&mut stream, &mut bytes, most, found).await.map_err(broken)?;
    let (body, _) = head.body(&bytes).map_err(say)?;
    if contains(&body, text.as_bytes()) {
        Ok(format!("status {}, body as expected", head.status))
    } else if bytes.len() >= most {
        Err(format!("status {}, but the first {BODY_MAX} bytes lack {text:?}", head.status))
    } else {
        Err(format!("status {}, but the body lacks {text:?}", head.status))
    }
}

fn judge_head(head: &Head, wanted: &HttpCheck) -> Result<(), String> {
    let status = head.status;
    if !wanted.status.iter().any(|range| range.contains(&status)) {
        return Err(format!("status {status}"));
    }
    let Some((name, due)) = &wanted.header else { return Ok(()) };
    let mut values = head.values(name);
    match (due, values.next()) {
        (_, None) => Err(format!("status {status}, but there is no header {name}")),
        (None, Some(_)) => Ok(()),
        (Some(due), Some(first)) if first == due || values.any(|value| value == due) => Ok(()),
        (Some(_), Some(first)) => Err(format!("status {status}, but {name} is {first:?}")),
    }
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len().max(1)).any(|window| window == wanted)
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tls_tests;
