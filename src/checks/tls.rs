//! Whom a check trusts, and the TLS connection to it; by rustls with ring.
//!
//! Certificates are read when first needed, on a thread that may wait for the disk, and again after
//! a failure: so a renewed authority is taken up without a reload.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::stream::{Stream, short};
use crate::config::{RegularFile, Tls, Unread};

/// Where distributions keep what their system trusts: Debian and Arch, Red Hat, SUSE, Alpine.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Certificates of one file: a system has some 150.
const CERTIFICATES_MAX: usize = 2000;
/// Bytes of one file.
const FILE_MAX: u64 = 8 * 1024 * 1024;

/// Whom to trust, with what is known of it so far.
pub(super) struct Trust {
    tls: Tls,
    config: Option<Arc<ClientConfig>>,
}

impl Trust {
    pub(super) fn new(tls: Tls) -> Self {
        Self { tls, config: None }
    }

    /// Makes a secure connection of one, or tells in a few words why not.
    pub(super) async fn connect(
        &mut self,
        host: &str,
        stream: Stream,
    ) -> Result<TlsStream<Stream>, String> {
        let config = match &self.config {
            Some(config) => Arc::clone(config),
            None => {
                let tls = self.tls.clone();
                let made = tokio::task::spawn_blocking(move || config(&tls)).await;
                let made = made.map_err(|error| error.to_string())??;
                self.config = Some(Arc::clone(&made));
                made
            }
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} cannot stand in a certificate"))?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.map_err(|error| {
            self.config = None;
            format!("TLS failed: {}", short(&error))
        })
    }
}

fn config(tls: &Tls) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = match tls {
        Tls::Anybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth(),
        Tls::System => {
            let found = SYSTEM.iter().map(PathBuf::from).find(|path| path.exists());
            let path = found.ok_or("this host has no list of trusted certificates; give a ca")?;
            builder.with_root_certificates(roots(&path)?).with_no_client_auth()
        }
        Tls::Authority(path) => builder.with_root_certificates(roots(path)?).with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let unread = |error: &dyn fmt::Display| format!("{} cannot be used: {error}", path.display());
    let bytes = RegularFile::open(path).and_then(|file| file.read(FILE_MAX));
    let bytes = bytes.map_err(|refused| match refused {
        Unread::Unreadable(error) => unread(&short(&error)),
        Unread::NotAFile | Unread::TooLarge => unread(&"it is no file, or too large"),
    })?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes).take(CERTIFICATES_MAX) {
        let certificate = certificate.map_err(|error| unread(&error))?;
        // A system's list may hold one that is too old for us; the others are good.
        let _ = store.add(certificate);
    }
    if store.is_empty() {
        return Err(unread(&"it holds no certificate"));
    }
    Ok(store)
}

/// Takes every certificate, because the operator said so. Signatures are still verified, so that
/// whoever answers has the key of what it shows.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _status: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
