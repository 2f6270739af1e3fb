//! The process id that the server announced when the client connected.
//!
//! A pooler announces an id of its own, and only this reveals a pooler reliably: even notifications
//! seem to work behind an idle one. The driver hides the id, but writes it into a cancel request.
//! The request is captured here and never sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::{Ready, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Client;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// The length of a cancel request, and the position of the process id in it.
const REQUEST: usize = 16;
const PROCESS_ID: std::ops::Range<usize> = 8..12;

/// The announced process id, 0 if there was none.
pub(crate) async fn announced(client: &Client) -> i32 {
    let mut captured = CapturedRequest::default();
    let cancelled = client.cancel_token().cancel_query_raw(&mut captured, NoEncryption).await;
    let request = captured.written.len().checked_sub(REQUEST);
    let request = request.map(|start| &captured.written[start..]);
    let pid = request.and_then(|request| <[u8; 4]>::try_from(&request[PROCESS_ID]).ok());
    cancelled.ok().and(pid).map_or(0, i32::from_be_bytes)
}

/// A stream that accepts everything and keeps what is written.
#[derive(Debug, Default)]
struct CapturedRequest {
    written: Vec<u8>,
}

impl AsyncRead for CapturedRequest {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // "Yes" to the request for encryption, which the driver makes if sslmode requires it.
        buffer.put_slice(b"S");
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CapturedRequest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl TlsStream for &mut CapturedRequest {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

/// Pretends to encrypt, which is safe because nothing leaves this process.
#[derive(Clone, Copy, Debug)]
struct NoEncryption;

impl<'a> TlsConnect<&'a mut CapturedRequest> for NoEncryption {
    type Stream = &'a mut CapturedRequest;
    type Error = io::Error;
    type Future = Ready<io::Result<&'a mut CapturedRequest>>;

    fn connect(self, captured: &'a mut CapturedRequest) -> Self::Future {
        ready(Ok(captured))
    }
}
