//! The sockets that a forked child inherits and must close.
//!
//! As long as one process has a socket open, the server does not see its end: the session of a
//! killed parent would stay until its child ends, and fill the server's queue of notifications.

use std::fs::metadata;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use nix::unistd::close;

/// The open sockets of this process. Without a lock, which a fork could leave locked in the child.
static OPEN: ArcSwapOption<Vec<OpenSocket>> = ArcSwapOption::const_empty();

/// A socket that a forked child closes. Dropping it forgets the socket.
#[derive(Debug)]
pub(super) struct Inherited(OpenSocket);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OpenSocket {
    descriptor: RawFd,
    /// Device and inode. The descriptor may have another meaning by the time it is closed.
    identity: Option<(u64, u64)>,
}

impl OpenSocket {
    fn at(descriptor: RawFd) -> Self {
        let found = metadata(format!("/proc/self/fd/{descriptor}")).ok();
        Self { descriptor, identity: found.map(|found| (found.dev(), found.ino())) }
    }

    fn is_same(self) -> bool {
        self.identity.is_some() && self == Self::at(self.descriptor)
    }
}

impl Inherited {
    /// Remembers a socket.
    pub(super) fn new(socket: &impl AsRawFd) -> Self {
        let socket = OpenSocket::at(socket.as_raw_fd());
        update(|open| open.push(socket));
        Self(socket)
    }
}

impl Drop for Inherited {
    fn drop(&mut self) {
        update(|open| open.retain(|socket| *socket != self.0));
    }
}

fn update(change: impl Fn(&mut Vec<OpenSocket>)) {
    OPEN.rcu(|open| {
        let mut open = open.as_deref().cloned().unwrap_or_default();
        change(&mut open);
        Some(Arc::new(open))
    });
}

/// Closes the sockets of the parent, in a forked child. The parent's sessions do not notice.
pub fn close_inherited() {
    for socket in OPEN.swap(None).iter().flat_map(|open| open.iter()) {
        if socket.is_same() {
            let _ = close(socket.descriptor);
        }
    }
}
