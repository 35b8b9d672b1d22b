//! TLS on the clients' address: one certificate from two files, loaded again when they change. Connections keep the
//! certificate that they began with; files that do not fit each other change nothing. Knows files and sockets, and
//! nothing of what is said over them.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::socket::Socket;
use crate::config;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    #[error("{key}: {} cannot be read: {error}", path.display())]
    File {
        /// The manifest's key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A file holds something else.
    #[error("{key}: {} holds no {wanted} in PEM form", path.display())]
    Pem {
        /// The manifest's key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// The two do not make a certificate that a client would believe.
    #[error("server.tls: certificate and key cannot be used together: {0}")]
    Unfit(rustls::Error),
    /// The build's cryptography cannot speak TLS.
    #[error("server.tls: {0}")]
    Setup(rustls::Error),
}

/// The certificate, and how it is spoken with.
pub(crate) struct Tls {
    files: config::Tls,
    chosen: Arc<Chosen>,
    acceptor: TlsAcceptor,
}

/// What handshakes begin with from now on.
#[derive(Debug)]
struct Chosen(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Chosen {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Tls {
    /// Loads certificate and key.
    pub(crate) fn load(files: &config::Tls) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chosen = Arc::new(Chosen(ArcSwap::from_pointee(read(files, &provider)?)));
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(TlsError::Setup)?.with_no_client_auth();
        let mut config = config.with_cert_resolver(chosen.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(Self { files: files.clone(), chosen, acceptor: Arc::new(config).into() }))
    }

    /// Takes the files as they are now; the error leaves everything as it was.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let key = read(&self.files, self.acceptor.config().crypto_provider())?;
        self.chosen.0.store(Arc::new(key));
        Ok(())
    }

    /// The files that it is made of.
    pub(crate) fn files(&self) -> [&Path; 2] {
        [&self.files.certificate, &self.files.key]
    }

    /// The handshake.
    pub(crate) async fn accept(&self, socket: Socket) -> io::Result<Transport> {
        let stream = self.acceptor.accept(socket).await?;
        Ok(Transport::Encrypted(Box::new(stream)))
    }
}

fn read(files: &config::Tls, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let (key, path) = ("server.tls.certificate", &files.certificate);
    let wrong = |wanted| move |_| TlsError::Pem { key, path: path.clone(), wanted };
    let text = contents(key, path)?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(wrong("certificate"))?;
    if chain.is_empty() {
        return Err(TlsError::Pem { key, path: path.clone(), wanted: "certificate" });
    }
    let (key, path) = ("server.tls.key", &files.key);
    let private = PrivateKeyDer::from_pem_slice(&contents(key, path)?);
    let wanted = "private key";
    let private = private.map_err(|_| TlsError::Pem { key, path: path.clone(), wanted })?;
    CertifiedKey::from_der(chain, private, provider).map_err(TlsError::Unfit)
}

fn contents(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::File { key, path: path.into(), error })
}

/// A client's connection, whether encrypted or not.
pub(crate) enum Transport {
    Plain(Socket),
    /// Much larger than the other.
    Encrypted(Box<TlsStream<Socket>>),
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Transport::Encrypted(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Encrypted(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Transport::Encrypted(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Encrypted(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Encrypted(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Encrypted(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::generate_simple_self_signed;

    use super::*;

    #[test]
    fn what_cannot_be_used_is_refused_by_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (one, other) = (
            generate_simple_self_signed(["a.test".to_owned()]).unwrap(),
            generate_simple_self_signed(["a.test".to_owned()]).unwrap(),
        );
        let (cert, key) =
            (file("cert.pem", one.cert.pem()), file("key.pem", one.signing_key.serialize_pem()));
        let stranger = file("other.pem", other.signing_key.serialize_pem());
        let told = |certificate: &Path, key: &Path| {
            let files = config::Tls { certificate: certificate.into(), key: key.into() };
            Tls::load(&files).err().map(|error| error.to_string())
        };
        assert_eq!(told(&cert, &key), None);
        for (certificate, key, says) in [
            (&key, &key, "server.tls.certificate: "),
            (&cert, &cert, "server.tls.key: "),
            (&folder.path().join("gone"), &key, "gone cannot be read"),
            (&cert, &stranger, "cannot be used together"),
        ] {
            let told = told(certificate, key).unwrap();
            assert!(told.contains(says), "{told}");
        }
    }
}
