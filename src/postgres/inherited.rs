//! The sockets that a forked child inherits and must close.
//!
//! As long as one process has a socket open, the server does not see its end: the session of a
//! killed parent would stay until its child ends, and fill the server's queue of notifications.

use std::fs::{metadata, read_dir, read_link, read_to_string};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::close;
use tokio::net::UnixDatagram;

/// The open sockets of this process. Without a lock, which a fork could leave locked in the child.
static OPEN: ArcSwapOption<Vec<OpenSocket>> = ArcSwapOption::const_empty();

/// The number of forks of this process that have begun.
static BEGUN: AtomicU64 = AtomicU64::new(0);
/// The number of forks of this process that have ended.
static ENDED: AtomicU64 = AtomicU64::new(0);

/// A socket that a forked child closes. Dropping it forgets the socket.
#[derive(Debug)]
pub(super) struct Inherited(OpenSocket);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OpenSocket {
    descriptor: RawFd,
    /// Device and inode, `None` if it is no socket. The descriptor may have another meaning by the time
    /// it is closed.
    identity: Option<(u64, u64)>,
}

impl OpenSocket {
    fn at(descriptor: RawFd) -> Self {
        let found = metadata(format!("/proc/self/fd/{descriptor}")).ok();
        let found = found.filter(|found| found.file_type().is_socket());
        Self { descriptor, identity: found.map(|found| (found.dev(), found.ino())) }
    }

    /// The socket of a line about an epoll instance: `tfd: 4 events: 1f data: 4 pos:0 ino:1b5c4e …`.
    fn watched(line: &str) -> Option<Self> {
        let descriptor = line.strip_prefix("tfd:")?.split_whitespace().next()?;
        let inode = line.split("ino:").nth(1)?.split_whitespace().next()?;
        let (socket, inode) =
            (Self::at(descriptor.parse().ok()?), u64::from_str_radix(inode, 16).ok()?);
        // The instance may still watch a file whose descriptor has another meaning by now.
        socket.identity.is_some_and(|(_, found)| found == inode).then_some(socket)
    }

    fn is_same(self) -> bool {
        self.identity.is_some() && self == Self::at(self.descriptor)
    }
}

impl Inherited {
    /// Remembers a socket.
    pub(super) fn new(socket: &impl AsRawFd) -> Self {
        Self::remember(OpenSocket::at(socket.as_raw_fd()))
    }

    /// Remembers the sockets of the runtime that calls, also those that a library hides. The kernel
    /// shows what each epoll instance watches, and a socket of our own which one is the runtime's.
    ///
    /// # Errors
    /// If the process can open no socket.
    pub(super) fn of_runtime() -> io::Result<Vec<Self>> {
        let probe = UnixDatagram::unbound()?;
        let own = OpenSocket::at(probe.as_raw_fd());
        let mut sockets = watched_with(own)?;
        sockets.retain(|socket| *socket != own);
        Ok(sockets.into_iter().map(Self::remember).collect())
    }

    fn remember(socket: OpenSocket) -> Self {
        update(|open| open.push(socket));
        Self(socket)
    }

    /// Ends its connection, for all processes that have it open. The caller ensures that no thread
    /// closes it meanwhile.
    pub(super) fn shut_down(&self) {
        if self.0.is_same() {
            let _ = shutdown(self.0.descriptor, Shutdown::Both);
        }
    }
}

impl Drop for Inherited {
    fn drop(&mut self) {
        update(|open| open.retain(|socket| *socket != self.0));
    }
}

/// The sockets that an epoll instance watches together with `probe`; none if there is no `/proc`.
fn watched_with(probe: OpenSocket) -> io::Result<Vec<OpenSocket>> {
    for entry in read_dir("/proc/self/fd").into_iter().flatten() {
        let entry = entry?;
        if read_link(entry.path()).is_ok_and(|link| link == Path::new("anon_inode:[eventpoll]")) {
            let information = Path::new("/proc/self/fdinfo").join(entry.file_name());
            let lines = read_to_string(information).unwrap_or_default();
            let sockets: Vec<_> = lines.lines().filter_map(OpenSocket::watched).collect();
            if sockets.contains(&probe) {
                return Ok(sockets);
            }
        }
    }
    Ok(Vec::new())
}

fn update(change: impl Fn(&mut Vec<OpenSocket>)) {
    OPEN.rcu(|open| {
        let mut open = open.as_deref().cloned().unwrap_or_default();
        change(&mut open);
        Some(Arc::new(open))
    });
}

/// The number of forks of this process, `None` while one is under way.
pub(super) fn forks() -> Option<u64> {
    let ended = ENDED.load(Ordering::SeqCst);
    (BEGUN.load(Ordering::SeqCst) == ended).then_some(ended)
}

/// Notes that a fork begins.
pub fn fork_begins() {
    BEGUN.fetch_add(1, Ordering::SeqCst);
}

/// Notes, in the parent, that a fork has ended.
pub fn fork_ends() {
    ENDED.fetch_add(1, Ordering::SeqCst);
}

/// Closes the sockets of the parent, in a forked child. The parent's sessions do not notice.
pub fn close_inherited() {
    ENDED.store(BEGUN.load(Ordering::SeqCst), Ordering::SeqCst);
    for socket in OPEN.swap(None).iter().flat_map(|open| open.iter()) {
        if socket.is_same() {
            let _ = close(socket.descriptor);
        }
    }
}
