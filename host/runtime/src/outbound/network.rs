//! The way to a server: its name is resolved once, every answer is judged, and the connection goes to an address that
//! passed; so no second look-up can lead elsewhere. TLS is spoken with the name all the same. Knows grants as a degree of
//! trust only.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::Error;

use super::address::{Reach, reach};
use super::origin::{Host, Origin};
use super::refusal::{Failed, Refusal};

/// Names resolved at a time, each on a thread that may block.
const LOOKUPS: usize = 16;
/// Addresses of one name that are tried, one after the other.
const ATTEMPTS: usize = 4;

/// How far a granted server is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// It must have a public address.
    Public,
    /// It may have an address of this machine or its own network (`grants.outbound-private`).
    Private,
    /// The operator named the very address.
    Literal,
}

/// A connection on which HTTP is spoken next.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The system's resolver, or a test's.
type Resolve = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// What every outbound request of the process shares.
pub(crate) struct Network {
    tls: Arc<ClientConfig>,
    resolve: Resolve,
    lookups: Arc<Semaphore>,
    /// Where this process listens.
    own: RwLock<Vec<SocketAddr>>,
}

impl Network {
    /// With the system's resolver and the certificate authorities that Mozilla trusts.
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        let system = |name: &str, port| Ok((name, port).to_socket_addrs()?.collect());
        Self::with(roots, system)
    }

    fn with(roots: RootCertStore, resolve: Resolve) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let lookups = Arc::new(Semaphore::new(LOOKUPS));
        Ok(Self { tls: Arc::new(tls), resolve, lookups, own: RwLock::default() })
    }

    /// No grant reaches these from now on.
    pub(crate) fn guard(&self, addresses: impl IntoIterator<Item = SocketAddr>) {
        self.own.write().unwrap_or_else(PoisonError::into_inner).extend(addresses);
    }

    /// A connection to a server, made within `limit`.
    pub(super) async fn connect(
        &self,
        origin: &Origin,
        trust: Trust,
        limit: Duration,
    ) -> Result<Box<dyn Stream>, Failed> {
        let work = async {
            let addresses = self.addresses(origin, trust).await?;
            let stream = attempt(&addresses, limit).await?;
            if origin.is_encrypted() { self.encrypt(&origin.host, stream).await } else { Ok(stream) }
        };
        timeout(limit, work).await.unwrap_or(Err(Error::ConnectionTimeout.into()))
    }

    /// Where a server may be reached; an error when it is nowhere that it may be.
    async fn addresses(&self, origin: &Origin, trust: Trust) -> Result<Vec<SocketAddr>, Failed> {
        let found = match &origin.host {
            Host::Address(address) => vec![SocketAddr::new(*address, origin.port)],
            Host::Name(name) => self.look_up(name, origin.port).await?,
        };
        let mut refused = None;
        let mut kept = Vec::new();
        for address in found {
            match self.judge(origin, address, trust) {
                Ok(()) => kept.push(address),
                Err(refusal) => refused = Some(refusal),
            }
        }
        kept.truncate(ATTEMPTS);
        match refused {
            Some(refusal) if kept.is_empty() => Err(refusal.into()),
            _ if kept.is_empty() => Err(Error::DnsError { rcode: None, info_code: None }.into()),
            _ => Ok(kept),
        }
    }

    async fn look_up(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        let place = self.lookups.clone().acquire_owned().await;
        let place = place.map_err(|_| Error::DnsTimeout)?;
        let (resolve, name) = (self.resolve, name.to_owned());
        // the system's resolver cannot be stopped: its place is taken until it returns, whoever still waits
        let found = tokio::task::spawn_blocking(move || {
            let _place = place;
            resolve(&name, port)
        });
        let unknown = |_| Error::DnsError { rcode: None, info_code: None };
        found.await.map_err(|_| Error::DnsTimeout)?.map_err(unknown)
    }

    /// Whether a server may be reached at an address.
    pub(super) fn judge(&self, origin: &Origin, address: SocketAddr, trust: Trust) -> Result<(), Refusal> {
        let (server, ip) = (origin.to_string(), address.ip().to_canonical());
        if self.is_own(ip, address.port()) {
            return Err(Refusal::Own { server, address: ip });
        }
        match (reach(ip), trust) {
            (Reach::Public, _) | (_, Trust::Literal) | (Reach::Private(_), Trust::Private) => Ok(()),
            (Reach::Private(what), Trust::Public) => Err(Refusal::Private { server, address: ip, what }),
            (Reach::Never(what), _) => Err(Refusal::Never { server, address: ip, what }),
        }
    }

    /// Whether this process listens there.
    fn is_own(&self, ip: IpAddr, port: u16) -> bool {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        own.iter().filter(|own| own.port() == port).any(|own| {
            let listens = own.ip().to_canonical();
            // the unspecified address leads to this machine, wherever it listens
            ip == listens
                || ip.is_unspecified()
                || listens.is_unspecified() && (ip.is_loopback() || is_of_this_machine(ip))
        })
    }

    async fn encrypt(&self, host: &Host, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, Failed> {
        let name = match host {
            Host::Name(name) => ServerName::try_from(name.clone()).map_err(Error::from)?,
            Host::Address(address) => ServerName::from(*address),
        };
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await;
        Ok(Box::new(stream.map_err(Error::Tls)?))
    }
}

/// A connection to the first address that takes one; each has its share of the time.
async fn attempt(addresses: &[SocketAddr], limit: Duration) -> Result<Box<dyn Stream>, Error> {
    let share = limit / u32::try_from(addresses.len()).unwrap_or(1).max(1);
    let mut last = Error::DestinationUnavailable;
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // requests are small or streamed; waiting to fill packets only delays them
                let _ = stream.set_nodelay(true);
                return Ok(Box::new(stream));
            }
            Ok(Err(error)) => last = Error::Connect(error),
            Err(_) => last = Error::ConnectionTimeout,
        }
    }
    Err(last)
}

/// Whether an address is one of this machine's: then, and only then, it is also where a packet to it would come from.
/// Nothing is sent.
fn is_of_this_machine(ip: IpAddr) -> bool {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((ip, 9))?;
        socket.local_addr()
    };
    source().is_ok_and(|source| source.ip() == ip)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// What a hostile or careless name server could answer, by the first label.
    fn resolve(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let addresses: &[&str] = match name.split('.').next().unwrap_or_default() {
            "loopback" => &["127.0.0.1", "::1"],
            "mapped" => &["::ffff:127.0.0.1"],
            "translated" => &["64:ff9b::127.0.0.1"],
            "compatible" => &["::127.0.0.1"],
            "unspecified" => &["0.0.0.0", "::"],
            "metadata" => &["169.254.169.254", "fe80::1"],
            "private" => &["10.0.0.1", "192.168.1.1", "100.64.0.1", "fc00::1"],
            "multicast" => &["224.0.0.1", "ff02::1"],
            "mixed" => &["127.0.0.1", "1.1.1.1", "10.0.0.1"],
            _ => &[],
        };
        Ok(addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), port)).collect())
    }

    fn network() -> Network {
        Network::with(RootCertStore::empty(), resolve).unwrap()
    }

    fn origin(text: &str) -> Origin {
        Origin::parse(text).unwrap()
    }

    async fn refused(network: &Network, text: &str, trust: Trust) -> Refusal {
        match network.addresses(&origin(text), trust).await {
            Err(Failed::Refused(refusal)) => refusal,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_name_never_leads_to_an_address_that_is_not_public() {
        for name in ["loopback", "mapped", "translated", "private"] {
            let refusal = refused(&network(), &format!("http://{name}.test"), Trust::Public).await;
            assert!(refusal.to_string().contains("`grants.outbound-private`"), "{refusal}");
        }
        for name in ["compatible", "unspecified", "metadata", "multicast"] {
            for trust in [Trust::Public, Trust::Private] {
                let refusal = refused(&network(), &format!("http://{name}.test"), trust).await;
                assert!(matches!(refusal, Refusal::Never { .. }), "{refusal}");
            }
        }
    }

    #[tokio::test]
    async fn of_several_addresses_only_those_that_pass_are_tried() {
        let kept = network().addresses(&origin("http://mixed.test:8080"), Trust::Public).await.unwrap();
        assert_eq!(kept, ["1.1.1.1:8080".parse().unwrap()]);
        let kept = network().addresses(&origin("http://private.test"), Trust::Private).await.unwrap();
        assert_eq!(kept.len(), 4);
        let nowhere = network().addresses(&origin("http://nowhere.test"), Trust::Private).await;
        assert!(matches!(nowhere, Err(Failed::Broken(Error::DnsError { .. }))), "{nowhere:?}");
    }

    #[tokio::test]
    async fn where_the_host_listens_no_grant_leads() {
        let network = network();
        network.guard(["0.0.0.0:8000", "127.0.0.1:8001", "[::]:8002"].map(|own| own.parse().unwrap()));
        let literal = ["127.0.0.1:8000", "127.9.9.9:8000", "0.0.0.0:8000", "[::ffff:127.0.0.1]:8000"];
        for own in literal.into_iter().chain(["127.0.0.1:8001", "0.0.0.0:8001", "[::1]:8002", "[::]:8002"]) {
            let refusal = refused(&network, &format!("http://{own}"), Trust::Literal).await;
            assert!(matches!(refusal, Refusal::Own { .. }), "{own}: {refusal}");
        }
        refused(&network, "http://loopback.test:8000", Trust::Private).await;
        for other in ["127.0.0.1:8003", "127.9.9.9:8001", "1.1.1.1:8000"] {
            let origin = origin(&format!("http://{other}"));
            assert!(network.addresses(&origin, Trust::Literal).await.is_ok(), "{other}");
        }
    }

    /// A TLS server for `name`, and the roots under which it is believed.
    async fn server(name: &str) -> (u16, RootCertStore) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = acceptor.accept(stream).await;
            }
        });
        (port, roots)
    }

    #[tokio::test]
    async fn tls_is_spoken_with_the_name_though_the_connection_goes_to_the_address() {
        let (port, roots) = server("loopback.test").await;
        let network = Network::with(roots, resolve).unwrap();
        let named = origin(&format!("https://loopback.test:{port}"));
        assert!(network.connect(&named, Trust::Private, PATIENCE).await.is_ok());
        let other = origin(&format!("https://loopback.other:{port}"));
        let Err(Failed::Broken(Error::Tls(_))) = network.connect(&other, Trust::Private, PATIENCE).await
        else {
            panic!("a certificate for another name was believed");
        };
    }

    #[tokio::test]
    async fn a_server_that_never_answers_the_handshake_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = origin(&format!("https://{}", listener.local_addr().unwrap()));
        let limit = Duration::from_millis(50);
        let Err(failed) = network().connect(&silent, Trust::Literal, limit).await else {
            panic!("connected")
        };
        assert!(matches!(failed, Failed::Broken(Error::ConnectionTimeout)), "{failed:?}");
    }
}
