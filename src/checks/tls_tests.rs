//! HTTP checks over TLS, against a server of rustls whose authority is a file of `tests/data/tls`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring};

use super::*;
use crate::config::{Endpoint, Tls};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

/// A server for one connection.
fn serve() -> SocketAddr {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file("server.pem")).unwrap().collect();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.unwrap(), key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        // A client that does not trust it ends the handshake.
        if stream.read(&mut [0; 512]).is_ok() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready");
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    address
}

fn look(host: &str, tls: Tls) -> Look {
    tests::look(HttpCheck {
        host: host.to_owned(),
        body: Some("ready".to_owned()),
        tls: Some(tls),
        ..tests::wanted(Endpoint::Tcp(serve()))
    })
}

#[test]
fn whom_the_authority_vouches_for_is_asked() {
    let good = Ok("status 200, body as expected".to_owned());
    assert_eq!(look("www.example.com", Tls::Authority(file("authority.pem"))), good);
    assert_eq!(look("other.example.com", Tls::Anybody), good);
}

#[test]
fn unknown_certificates_are_refused_in_words() {
    let refused = |host: &str, tls| look(host, tls).expect_err("it is trusted");
    let other = refused("other.example.com", Tls::Authority(file("authority.pem")));
    assert!(other.starts_with("TLS failed: ") && other.contains("not valid for name"), "{other}");
    // It is its own key, and nobody vouches for that.
    let unknown = refused("www.example.com", Tls::Authority(file("server.pem")));
    assert!(unknown.starts_with("TLS failed: "), "{unknown}");
    let empty = refused("www.example.com", Tls::Authority(file("server.key")));
    assert!(empty.ends_with("cannot be used: it holds no certificate"), "{empty}");
    let missing = refused("www.example.com", Tls::Authority(file("nothing")));
    assert!(missing.ends_with("cannot be used: no such file or directory"), "{missing}");
}
