//! Which process of the server a client was told that it talks to.
//!
//! A pooler tells of one of its own, which is the only sign of it that cannot be mistaken: behind
//! a quiet one even notifications seem to work. The driver keeps the number for itself, but writes
//! it into a request to cancel: that is made here, and sent nowhere.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::{Ready, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Client;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// The length of a request to cancel, and where in it the process is.
const REQUEST: usize = 16;
const PROCESS: std::ops::Range<usize> = 8..12;

/// The process that the client was told of, 0 where that was none.
pub(crate) async fn process(client: &Client) -> i32 {
    let mut request = CapturedRequest::default();
    let cancelled = client.cancel_token().cancel_query_raw(&mut request, Plain).await;
    let request = request.written.len().checked_sub(REQUEST).map(|start| &request.written[start..]);
    let process = request.and_then(|request| <[u8; 4]>::try_from(&request[PROCESS]).ok());
    cancelled.ok().and(process).map_or(0, i32::from_be_bytes)
}

/// A server that agrees to everything, and keeps what it is sent.
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
        // Yes to encryption, which is what is asked where it is required.
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

/// No encryption, though it is asked for: nothing leaves this process.
#[derive(Clone, Copy, Debug)]
struct Plain;

impl<'a> TlsConnect<&'a mut CapturedRequest> for Plain {
    type Stream = &'a mut CapturedRequest;
    type Error = io::Error;
    type Future = Ready<io::Result<&'a mut CapturedRequest>>;

    fn connect(self, request: &'a mut CapturedRequest) -> Self::Future {
        ready(Ok(request))
    }
}
