//! The bytes between the engine and a server, over a port or a Unix socket.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, UnixSocket};
use tokio::time::timeout;
use tokio_postgres::Config;

use crate::postgres::connect::servers::Address;
use crate::postgres::deadline::{self, LastByte};
use crate::postgres::inherited::Inherited;

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A connected socket.
pub(crate) struct Stream {
    _inherited: Inherited,
    bytes: Box<dyn Bytes>,
    last_byte: LastByte,
}

impl Stream {
    /// Connects to one address.
    pub(super) async fn connect(address: &Address, config: &Config) -> io::Result<Self> {
        let connecting = async {
            match address {
                Address::Port(address) => Self::connect_port(*address, config).await,
                Address::Socket(path) => Self::connect_socket(path).await,
            }
        };
        timeout(deadline::ADDRESS, connecting).await?
    }

    async fn connect_port(address: SocketAddr, config: &Config) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Before connecting, because a fork may come meanwhile.
        let inherited = Inherited::new(&socket);
        configure(&socket, config)?;
        Ok(Self::new(inherited, socket.connect(address).await?))
    }

    async fn connect_socket(path: &Path) -> io::Result<Self> {
        let socket = UnixSocket::new_stream()?;
        let inherited = Inherited::new(&socket);
        Ok(Self::new(inherited, socket.connect(path).await?))
    }

    fn new(inherited: Inherited, bytes: impl Bytes + 'static) -> Self {
        Self { _inherited: inherited, bytes: Box::new(bytes), last_byte: LastByte::now() }
    }

    /// When the server last sent a byte; changes with each one.
    pub(super) fn last_byte(&self) -> LastByte {
        self.last_byte.clone()
    }
}

fn configure(socket: &TcpSocket, config: &Config) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(config.get_tcp_user_timeout().copied())?;
    if config.get_keepalives() {
        let mut keepalive = TcpKeepalive::new().with_time(config.get_keepalives_idle());
        if let Some(interval) = config.get_keepalives_interval() {
            keepalive = keepalive.with_interval(interval);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    Ok(())
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.bytes).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.last_byte.arrived();
        }
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.bytes).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_shutdown(context)
    }
}
