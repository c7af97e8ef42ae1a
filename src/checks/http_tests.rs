//! An HTTP check against servers that behave, lie, stall and never end. They are threads of this
//! test on ports that the kernel chose.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use super::*;
use crate::config::Endpoint;

pub(super) fn wanted(at: Endpoint) -> HttpCheck {
    HttpCheck {
        at,
        path: "/health".to_owned(),
        host: "www.example.com".to_owned(),
        method: "GET",
        status: vec![200..=299],
        header: None,
        body: None,
        tls: None,
    }
}

pub(super) fn look(wanted: HttpCheck) -> Look {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let limit = Duration::from_secs(5);
        let look = tokio::time::timeout(limit, async { Asker::new(wanted).look().await });
        look.await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    })
}

/// A server for one connection.
fn serve(answer: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream);
        answer(stream);
    });
    address
}

fn read_request(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

fn answered(text: &'static str, change: impl FnOnce(&mut HttpCheck)) -> Look {
    let at = serve(move |mut stream| stream.write_all(text.as_bytes()).unwrap());
    let mut wanted = wanted(Endpoint::Tcp(at));
    change(&mut wanted);
    look(wanted)
}

#[test]
fn status_header_and_body_decide() {
    const GOOD: &str = "HTTP/1.1 200 OK\r\nX-Role: active\r\nContent-Length: 5\r\n\r\nready";
    let fails = |words: &str| Err(words.to_owned());
    assert_eq!(answered(GOOD, |_| {}), Ok("status 200".to_owned()));
    assert_eq!(answered("HTTP/1.1 503 No\r\n\r\n", |_| {}), fails("status 503"));
    let header = |value: Option<&str>| Some(("x-role".to_owned(), value.map(str::to_owned)));
    assert!(answered(GOOD, |wanted| wanted.header = header(None)).is_ok());
    assert!(answered(GOOD, |wanted| wanted.header = header(Some("active"))).is_ok());
    assert_eq!(
        answered(GOOD, |wanted| wanted.header = header(Some("spare"))),
        fails("status 200, but x-role is \"active\"")
    );
    assert_eq!(
        answered(GOOD, |wanted| wanted.header = Some(("age".to_owned(), None))),
        fails("status 200, but there is no header age")
    );
    let body = |text: &str| Some(text.to_owned());
    assert_eq!(
        answered(GOOD, |wanted| wanted.body = body("ready")),
        Ok("status 200, body as expected".to_owned())
    );
    assert_eq!(
        answered(GOOD, |wanted| wanted.body = body("READY")),
        fails("status 200, but the body lacks \"READY\"")
    );
}

#[test]
fn a_request_names_host_and_path() {
    let directory = std::env::temp_dir().join(format!("buoy-http-{}", std::process::id()));
    let _ = std::fs::remove_file(&directory);
    let listener = UnixListener::bind(&directory).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let request = read_request(&mut stream);
        stream.write_all(b"HTTP/1.0 204 No Content\r\n\r\n").unwrap();
        request
    });
    assert_eq!(look(wanted(Endpoint::Unix(directory.clone()))), Ok("status 204".to_owned()));
    std::fs::remove_file(&directory).unwrap();
    assert_eq!(
        server.join().unwrap(),
        "GET /health HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: buoy\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
}

#[test]
fn answers_that_never_end_fail_without_being_read_for_ever() {
    let endless = |begin: &'static str| {
        serve(move |mut stream| {
            let mut go_on = stream.write_all(begin.as_bytes()).is_ok();
            while go_on {
                go_on = stream.write_all(&[b'x'; 4096]).is_ok();
            }
        })
    };
    let head = wanted(Endpoint::Tcp(endless("HTTP/1.1 200 OK\r\nX-Long: ")));
    assert_eq!(look(head), Err("the answer's head is longer than 16384 bytes".to_owned()));
    let mut body = wanted(Endpoint::Tcp(endless("HTTP/1.1 200 OK\r\n\r\n")));
    body.body = Some("ready".to_owned());
    assert_eq!(look(body), Err("status 200, but the first 65536 bytes lack \"ready\"".to_owned()));
    // Without a body to look for it is not read at all.
    let unread = wanted(Endpoint::Tcp(endless("HTTP/1.1 200 OK\r\n\r\n")));
    assert_eq!(look(unread), Ok("status 200".to_owned()));
}

#[test]
fn nonsense_and_silence_fail() {
    let fails = |words: &str| Err(words.to_owned());
    assert_eq!(answered("220 mail ESMTP\r\n", |_| {}), fails("the answer is not HTTP"));
    assert_eq!(answered("HTTP/1.1 200 OK\r\nX", |_| {}), fails("the answer ends within its head"));
    let closed = answered("", |_| {});
    assert_eq!(closed, fails("the server closed the connection without an answer"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(look(wanted(Endpoint::Tcp(nobody))), fails("connecting failed: connection refused"));
}
