//! What a service manager is told: that the host is ready, takes up changes, or is leaving. In systemd's protocol, over
//! the socket that it names; without one, nothing is told. Never fails: the host serves whether or not anyone listens.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};

/// Whoever started the process and wants to know.
#[derive(Clone, Default)]
pub(crate) struct Manager(Option<Arc<UnixDatagram>>);

impl Manager {
    /// `socket` is the value of `$NOTIFY_SOCKET`.
    pub(crate) fn new(socket: Option<&OsStr>) -> Self {
        let Some(socket) = socket else { return Self::default() };
        match connect(socket) {
            Ok(socket) => Self(Some(Arc::new(socket))),
            Err(error) => {
                tracing::warn!("the service manager at $NOTIFY_SOCKET cannot be reached: {error}");
                Self::default()
            }
        }
    }

    /// Requests are answered.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// Changes are being taken up; [`Manager::ready`] says when they are. Requests are answered all the while.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// Running requests finish, then the process ends.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, state: &str) {
        let Some(socket) = &self.0 else { return };
        if let Err(error) = socket.send(state.as_bytes()) {
            tracing::debug!("the service manager does not listen: {error}");
        }
    }
}

fn connect(socket: &OsStr) -> io::Result<UnixDatagram> {
    let datagram = UnixDatagram::unbound()?;
    // a manager that does not read must not hold the host up
    datagram.set_nonblocking(true)?;
    datagram.connect_addr(&address(socket)?)?;
    Ok(datagram)
}

/// A path, or a name outside of the file system, which is written with an `@`.
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.as_bytes().strip_prefix(b"@") {
        return <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name);
    }
    SocketAddr::from_pathname(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_outside_of_the_file_system_is_understood() {
        let name = format!("atelier-test-{}", std::process::id());
        let address = address(OsStr::new(&format!("@{name}"))).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        Manager::new(Some(OsStr::new(&format!("@{name}")))).stopping();
        let mut bytes = [0; 64];
        let length = listener.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"STOPPING=1");
    }
}
