//! What may be asked for, and what every answer has.
//!
//! ```text
//!  /             the page                     /metrics[?groups=no]   for Prometheus
//!  /healthz      the daemon answers           /status.json           what "buoy status --json" says
//!  /ready        this node may have groups    /events                what happens, as it happens
//!  /ready?group= this node answers for it     /style.css, /live.js   parts of the page
//! ```
//!
//! Only reading, and only by those who know under which name they ask: a page of somebody else that
//! has its own name point here ("DNS rebinding") is refused, because that name is not one of ours.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, Request, State};
use axum::http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, HOST, HeaderName, HeaderValue, REFERRER_POLICY, TRANSFER_ENCODING,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use super::feed::{Answer, Feed, Told};
use super::metrics::Format;
use super::page::{self, View};
use super::{clock, ready};
use crate::control::response::Event;

/// Listeners to events at a time; the other connections stay for those who only ask.
pub(super) const STREAMS_MAX: usize = 32;
/// So often something is said to a listener, so that one that has gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Nothing from elsewhere, no inline scripts or styles, and in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What all answers are made of.
#[derive(Debug)]
pub(super) struct Site {
    feed: Arc<Feed>,
    /// Names under which it may be asked, besides addresses and `localhost`.
    hosts: Vec<String>,
    streams: Arc<Semaphore>,
}

impl Site {
    pub(super) fn new(feed: Arc<Feed>, hosts: Vec<String>) -> Arc<Self> {
        Arc::new(Self { feed, hosts, streams: Arc::new(Semaphore::new(STREAMS_MAX)) })
    }

    /// Whether a header `Host` names this site: by an address, which no other page can have point
    /// here, or by a name of ours.
    fn is_named(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(""),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        name.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// All of it.
pub(super) fn router(site: Arc<Site>) -> Router {
    let guarded = middleware::from_fn_with_state(Arc::clone(&site), guard);
    Router::new()
        .route("/", get(show))
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/ready", get(readiness))
        .route("/status.json", get(status))
        .route("/events", get(events))
        .route("/style.css", get(|| async { file("text/css", include_str!("style.css")) }))
        .route("/live.js", get(|| async { file("text/javascript", include_str!("live.js")) }))
        .fallback(|| async { plain(StatusCode::NOT_FOUND, "no such page") })
        .layer(guarded)
        .with_state(site)
}

async fn guard(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let refused = refusal(&site, &request);
    let mut response = match refused {
        Some((status, why)) => {
            let mut response = plain(status, why);
            // What is left of the request is not read.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            if status == StatusCode::METHOD_NOT_ALLOWED {
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            response
        }
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(site: &Site, request: &Request) -> Option<(StatusCode, &'static str)> {
    let headers = request.headers();
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Some((StatusCode::METHOD_NOT_ALLOWED, "this page is read-only"));
    }
    let length = headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    if length || headers.contains_key(TRANSFER_ENCODING) {
        return Some((StatusCode::PAYLOAD_TOO_LARGE, "a request must have no body"));
    }
    let mut hosts = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or(""));
    match (hosts.next(), hosts.next(), request.uri().host()) {
        (Some(host), None, None) if site.is_named(host) => None,
        (Some(_), None, None) => Some((
            StatusCode::MISDIRECTED_REQUEST,
            "this host name is not allowed; start 'buoy serve' with --allow-host NAME",
        )),
        _ => Some((StatusCode::BAD_REQUEST, "a request must have one Host header and a path")),
    }
}

fn plain(status: StatusCode, text: &str) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{text}\n")).into_response()
}

fn file(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, format!("{kind}; charset=utf-8"))], text).into_response()
}

#[derive(Debug, Deserialize)]
struct Scrape {
    groups: Option<String>,
}

async fn metrics(
    State(site): State<Arc<Site>>,
    Query(scrape): Query<Scrape>,
    headers: HeaderMap,
) -> Response {
    let groups = !matches!(scrape.groups.as_deref(), Some("no" | "false" | "0"));
    let accept: Vec<&str> =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::of(&accept.join(","));
    let text = site.feed.snapshot().await.metrics(groups, format);
    ([(CONTENT_TYPE, format.content_type())], text).into_response()
}

async fn health(State(site): State<Arc<Site>>) -> Response {
    match &site.feed.snapshot().await.answer {
        Ok(_) => plain(StatusCode::OK, "the daemon answers"),
        Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

#[derive(Debug, Deserialize)]
struct Asked {
    group: Option<String>,
}

async fn readiness(State(site): State<Arc<Site>>, Query(asked): Query<Asked>) -> Response {
    match &site.feed.snapshot().await.answer {
        Ok(Answer { status, .. }) => {
            let (code, words) = ready::judge(status, asked.group.as_deref());
            plain(code, &words)
        }
        Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn status(State(site): State<Arc<Site>>) -> Response {
    let kind = [(CONTENT_TYPE, "application/json")];
    match &site.feed.snapshot().await.answer {
        Ok(answer) => (kind, answer.line.clone()).into_response(),
        Err(why) => {
            let error = json!({ "schema": 1, "error": { "code": "unreachable", "reason": why } });
            let line = Bytes::from(format!("{error}\n"));
            (StatusCode::SERVICE_UNAVAILABLE, kind, line).into_response()
        }
    }
}

async fn show(State(site): State<Arc<Site>>, Query(view): Query<View>) -> Response {
    let snapshot = site.feed.snapshot().await;
    let text = page::render(&snapshot, &site.feed.history(), &view, clock::millis());
    let code =
        if snapshot.answer.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, [(CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response()
}

/// What one listener is told next.
struct Listener {
    missed: std::vec::IntoIter<Arc<Event>>,
    told: broadcast::Receiver<Told>,
    _place: OwnedSemaphorePermit,
}

async fn events(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let Ok(place) = Arc::clone(&site.streams).try_acquire_owned() else {
        return plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many clients follow the events already",
        );
    };
    let told = site.feed.listen();
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let missed = last.map(|last| missed(&site.feed, last)).unwrap_or_default();
    let listener = Listener { missed: missed.into_iter(), told, _place: place };
    let told = stream::unfold(listener, |mut listener| async {
        let event = match listener.missed.next() {
            Some(event) => as_sent(&event),
            None => match listener.told.recv().await {
                Ok(Told::Event(event)) => as_sent(&event),
                Ok(Told::Daemon { up }) => {
                    sse::Event::default().event("daemon").data(json!({ "up": up }).to_string())
                }
                Err(RecvError::Lagged(lost)) => {
                    sse::Event::default().event("lost").data(json!({ "lost": lost }).to_string())
                }
                Err(RecvError::Closed) => return None,
            },
        };
        Some((Ok::<_, Infallible>(event), listener))
    });
    Sse::new(told).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// Names an event, also after the daemon has started again and counts from 1 again.
fn id(event: &Event) -> String {
    let digits = |byte: &u8| byte.is_ascii_digit();
    let time: Vec<u8> = event.time.bytes().filter(digits).collect();
    format!("{}-{}", String::from_utf8_lossy(&time), event.seq)
}

fn as_sent(event: &Event) -> sse::Event {
    let line = serde_json::to_string(event).unwrap_or_default();
    sse::Event::default().id(id(event)).data(line)
}

/// What has happened since the event that a listener heard last, if that is still known.
fn missed(feed: &Feed, last: &str) -> Vec<Arc<Event>> {
    let history = feed.history();
    let mut since: Vec<_> =
        history.recent().take_while(|event| id(event) != last).map(Arc::clone).collect();
    since.reverse();
    since
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn names_that_others_could_have_point_here_are_refused() {
        let feed = Arc::new(Feed::new(Path::new("/nowhere")));
        let site = Site::new(feed, vec!["lb1.example.net".to_owned()]);
        for good in [
            "localhost",
            "localhost:4749",
            "LOCALHOST:1",
            "127.0.0.1:4749",
            "192.0.2.11",
            "[::1]",
            "[2001:db8::1]:4749",
            "lb1.example.net",
            "LB1.example.net:80",
        ] {
            assert!(site.is_named(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "evil.example:4749",
            "lb1",
            "localhost.evil.example",
            "[",
            "[x]:1",
            "127.0.0.1.evil.example",
            "lb1.example.net.evil.example:4749",
            ":4749",
        ] {
            assert!(!site.is_named(bad), "{bad}");
        }
    }
}
