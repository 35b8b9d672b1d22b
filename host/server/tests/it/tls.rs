//! Encrypted connections, and certificates that change while they are used.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{DEADLINE, raw};
use crate::house::{House, PAGE, folder, manifest, route};

const NAME: &str = "images.test";
const TLS: &str = "tls = { certificate = \"cert.pem\", key = \"key.pem\" }";

struct Certificate {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Certificate {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()]).unwrap();
        Self { certificate: cert.pem(), key: KeyPair::serialize_pem(&signing_key), der: cert.der().clone() }
    }

    fn write(&self, folder: &TempDir) {
        std::fs::write(folder.path().join("cert.pem"), &self.certificate).unwrap();
        std::fs::write(folder.path().join("key.pem"), &self.key).unwrap();
    }
}

async fn house(first: &Certificate, server: &str) -> House {
    let folder = folder();
    first.write(&folder);
    House::open(folder, &manifest(&format!("{TLS}\n{server}"), &route("a", "/", ""))).await
}

/// A connection that believes these certificates and no others.
async fn connect(to: SocketAddr, known: &[&Certificate], protocols: &[&[u8]]) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    known.iter().for_each(|known| roots.add(known.der.clone()).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(to).await.unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    timeout(DEADLINE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap().unwrap()
}

fn certificate(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(format!("GET {PAGE} HTTP/1.1\r\nhost: {NAME}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    timeout(DEADLINE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_over_tls_and_neither_without() {
    let first = Certificate::new();
    let house = house(&first, "").await;
    let mut one = connect(house.edge, &[&first], &[b"http/1.1"]).await;
    assert_eq!(one.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(ask(&mut one).await, "HTTP/1.1 200");
    let mut two = connect(house.edge, &[&first], &[b"h2", b"http/1.1"]).await;
    assert_eq!(two.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    two.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    timeout(DEADLINE, two.read_exact(&mut head)).await.unwrap().unwrap();
    assert_eq!(head[3], 4, "the server's settings");
    let plain = raw(house.edge, format!("GET {PAGE} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await;
    assert!(!plain.contains("200 OK"), "{plain}");
}

#[tokio::test]
async fn a_handshake_that_never_comes_is_cut() {
    let house = house(&Certificate::new(), "header-timeout-ms = 200").await;
    for start in [&b""[..], b"\x16\x03\x01\x02\0\x01"] {
        let answer = raw(house.edge, start).await;
        assert!(answer.is_empty(), "{answer}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_a_broken_one_for_none() {
    let (first, second) = (Certificate::new(), Certificate::new());
    let known = [&first, &second];
    let house = house(&first, "").await;
    let mut old = connect(house.edge, &known, &[]).await;
    assert_eq!(certificate(&old), first.der);

    // a certificate without its key is what a careless writer leaves for a moment, or for ever
    house.put("cert.pem", &second.certificate);
    let status = house.until("told", |status| !status["reload"]["tls_error"].is_null()).await;
    assert!(status["reload"]["tls_error"].to_string().contains("server.tls"), "{status:#}");
    assert_eq!(certificate(&connect(house.edge, &known, &[]).await), first.der);

    house.put("key.pem", &second.key);
    house.until("whole", |status| status["reload"]["tls_error"].is_null()).await;
    assert_eq!(certificate(&connect(house.edge, &known, &[]).await), second.der);
    assert_eq!(ask(&mut old).await, "HTTP/1.1 200", "old connections stay");

    house.put("cert.pem", "no certificate");
    let status = house.until("told", |status| !status["reload"]["tls_error"].is_null()).await;
    assert!(status["reload"]["tls_error"].to_string().contains("server.tls.certificate"), "{status:#}");
    sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(certificate(&connect(house.edge, &known, &[]).await), second.der);
}
