//! Guards the socket of a connection, which the drivers hide: it is shut down at a deadline, and a
//! forked child closes its copy. A child that is forked before the connection's first byte may keep
//! it; then the server ends it after `authentication_timeout`.

use std::io;
use std::time::Instant;

use tokio::sync::watch;
use tokio::time::sleep_until;
use tokio_postgres::Socket;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

use crate::postgres::connect::tls::{Handshake, Tls};
use crate::postgres::error::Error;
use crate::postgres::inherited::{Inherited, forks};

/// Makes the handshake of one connection. The drivers call it, on the connection's runtime, once they
/// have connected and before they send a byte.
pub(super) struct Guard {
    tls: Tls,
    until: watch::Receiver<Instant>,
    /// The forks before it connected.
    forks: Option<u64>,
}

impl Guard {
    /// A guard, and what sets when the socket is shut down. Dropping the latter ends the guard.
    pub(super) fn new(tls: Tls, until: Instant) -> (Self, watch::Sender<Instant>) {
        let (sender, until) = watch::channel(until);
        (Self { tls, until, forks: forks() }, sender)
    }
}

impl MakeTlsConnect<Socket> for Guard {
    type Stream = <Handshake as TlsConnect<Socket>>::Stream;
    type TlsConnect = Handshake;
    type Error = Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, Error> {
        let sockets = Inherited::of_runtime().map_err(Error::socket)?;
        if self.forks.is_none() || self.forks != forks() {
            // The child does not know this socket, and would keep it open.
            sockets.iter().for_each(Inherited::shut_down);
            return Err(Error::socket(io::ErrorKind::Interrupted.into()));
        }
        tokio::spawn(end_at(sockets, self.until.clone()));
        Ok(self.tls.handshake(host))
    }
}

/// Shuts the sockets down at a time that may change. It runs on the thread that uses and closes the
/// connection, so the sockets are open.
async fn end_at(sockets: Vec<Inherited>, mut until: watch::Receiver<Instant>) {
    loop {
        let at = *until.borrow_and_update();
        tokio::select! {
            biased;
            changed = until.changed() => if changed.is_err() { return },
            () = sleep_until(at.into()) => break,
        }
    }
    sockets.iter().for_each(Inherited::shut_down);
    // The runtime drops it together with the sockets, which a forked child must close until then.
    std::future::pending::<()>().await;
}
