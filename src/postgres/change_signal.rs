//! A wake-up for one reader, when a snapshot is published or the refresh mode changes.
//!
//! It carries no data: the reader compares what it sees with what it has seen before.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::postgres::inherited::Inherited;

/// The signal of this process.
pub static CHANGE_SIGNAL: ChangeSignal = ChangeSignal::new();

/// The sender of wake-ups. Without a reader there is no socket, and sending costs one atomic load.
#[derive(Debug)]
pub struct ChangeSignal(ArcSwapOption<Writer>);

#[derive(Debug)]
struct Writer {
    stream: UnixStream,
    /// A forked child closes its copies of both ends.
    _inherited: [Inherited; 2],
}

impl ChangeSignal {
    const fn new() -> Self {
        Self(ArcSwapOption::const_empty())
    }

    /// Opens a socket and returns the end of its reader. An earlier reader gets the end of the
    /// stream.
    ///
    /// # Errors
    /// If the process can open no socket.
    pub fn open(&self) -> io::Result<UnixStream> {
        let (stream, reader) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        let inherited = [Inherited::new(&stream), Inherited::new(&reader)];
        self.close();
        self.0.store(Some(Arc::new(Writer { stream, _inherited: inherited })));
        Ok(reader)
    }

    /// Wakes the reader. Returns at once.
    pub(super) fn send(&self) {
        if let Some(writer) = self.0.load().as_deref() {
            // Full: the reader has wake-ups to read. Closed: it has gone.
            let _ = (&writer.stream).write(&[1]);
        }
    }

    /// Closes the socket, so that the reader gets the end of the stream.
    pub fn close(&self) {
        if let Some(writer) = self.0.swap(None) {
            // A process that was forked meanwhile may hold a copy of the descriptor.
            let _ = writer.stream.shutdown(Shutdown::Both);
        }
    }

    /// Forgets the socket in a forked child, which has closed its copies with the other inherited
    /// sockets. The descriptor may be that of another file by now.
    pub fn forget(&self) {
        std::mem::forget(self.0.swap(None));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// The number of wake-ups that wait, and whether the stream has ended.
    fn read(reader: &mut UnixStream) -> (usize, bool) {
        reader.set_nonblocking(true).expect("a socket");
        let mut bytes = [0; 4096];
        let mut count = 0;
        loop {
            match reader.read(&mut bytes) {
                Ok(0) => return (count, true),
                Ok(more) => count += more,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    return (count, false);
                }
            }
        }
    }

    fn copy_of(signal: &ChangeSignal) -> UnixStream {
        signal.0.load_full().expect("a socket").stream.try_clone().expect("a copy")
    }

    #[test]
    fn signal_without_reader_is_dropped() {
        let signal = ChangeSignal::new();
        signal.send();
        assert_eq!(read(&mut signal.open().expect("a socket")), (0, false));
    }

    #[test]
    fn reader_is_woken_once_per_signal() {
        let signal = ChangeSignal::new();
        let mut reader = signal.open().expect("a socket");
        signal.send();
        signal.send();
        assert_eq!(read(&mut reader), (2, false));
    }

    #[test]
    fn full_socket_does_not_block_and_keeps_its_wake_ups() {
        let signal = ChangeSignal::new();
        let mut reader = signal.open().expect("a socket");
        for _ in 0..1_000_000 {
            signal.send();
        }
        let (count, ended) = read(&mut reader);
        assert!(count > 0 && !ended);
        signal.send();
        assert_eq!(read(&mut reader), (1, false));
    }

    #[test]
    fn closed_signal_ends_the_stream_also_of_a_copied_descriptor() {
        let signal = ChangeSignal::new();
        let mut reader = signal.open().expect("a socket");
        let copy = copy_of(&signal);
        signal.close();
        signal.send();
        assert_eq!(read(&mut reader), (0, true));
        drop(copy);
    }

    #[test]
    fn second_reader_ends_the_stream_of_the_first() {
        let signal = ChangeSignal::new();
        let mut first = signal.open().expect("a socket");
        let mut second = signal.open().expect("a socket");
        signal.send();
        assert_eq!((read(&mut first), read(&mut second)), ((0, true), (1, false)));
    }

    #[test]
    fn forgotten_signal_does_not_end_the_stream() {
        let signal = ChangeSignal::new();
        let mut reader = signal.open().expect("a socket");
        signal.forget();
        signal.send();
        assert_eq!(read(&mut reader), (0, false));
    }

    #[test]
    fn signal_to_a_reader_that_has_gone_is_dropped() {
        let signal = ChangeSignal::new();
        drop(signal.open().expect("a socket"));
        signal.send();
    }
}
