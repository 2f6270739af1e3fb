//! Fake servers that fail in different ways, without a database.

use std::io::{Read, Write, copy};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use flagstaff::postgres::connect::parameters::Parameters;

/// The parameters to reach a server at `port` of this machine.
fn parameters(port: u16) -> Parameters {
    let port = port.to_string();
    let given = [
        ("host", "127.0.0.1"),
        ("port", &port),
        ("user", "shop"),
        ("password", "open sesame"),
        // The fake servers do not answer a request for TLS.
        ("sslmode", "disable"),
    ];
    given.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

/// A port on which no server listens. A free port could be that of another test a moment later.
pub(crate) fn unreachable() -> Parameters {
    parameters(1)
}

/// A server that accepts connections and never sends a byte.
pub(crate) fn silent() -> Parameters {
    serve(|mut stream| {
        let mut buffer = [0; 64];
        while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
    })
}

/// A server that requests the password and rejects it.
pub(crate) fn rejecting() -> Parameters {
    // AuthenticationCleartextPassword.
    let request = message(b'R', &3_u32.to_be_bytes());
    replying([request, refusal("28P01", "auth_failed")].into())
}

/// A server that requests this method of authentication, with the data that belong to it.
pub(crate) fn requesting(method: u32, data: &[u8]) -> Parameters {
    replying([message(b'R', &[&method.to_be_bytes(), data].concat())].into())
}

/// A server that refuses each connection with this SQLSTATE, by this function of its own.
pub(crate) fn refusing(state: &str, function: &str) -> Parameters {
    replying([refusal(state, function)].into())
}

fn refusal(state: &str, function: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C{state}\0Mrefused: \"shop\", hunter2\0R{function}\0\0");
    message(b'E', fields.as_bytes())
}

/// The server of `real`, which rejects the password as long as `rejects` returns true.
pub(crate) fn rejecting_while(
    mut real: Parameters,
    rejects: impl Fn() -> bool + Send + Sync + 'static,
) -> Parameters {
    let address = format!("{}:{}", real["host"], real["port"]);
    real.extend(
        serve(move |mut stream| {
            if rejects() {
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(&refusal("28P01", "auth_failed"));
                return;
            }
            let mut server = TcpStream::connect(&address).expect("the server takes connections");
            let (mut from, mut to) = (clone(&server), clone(&stream));
            thread::spawn(move || copy_all(&mut from, &mut to));
            let _ = copy(&mut stream, &mut server);
        })
        .into_iter()
        .filter(|(name, _)| ["host", "port", "sslmode"].contains(&&**name)),
    );
    real
}

/// A server that sends the next reply for each message of the client.
fn replying(replies: Vec<Vec<u8>>) -> Parameters {
    serve(move |mut stream| {
        let mut buffer = [0; 1024];
        for reply in &replies {
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(reply);
        }
    })
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short message");
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

fn serve(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Parameters {
    let (listener, port) = listen();
    let handle = Arc::new(handle);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = handle.clone();
            thread::spawn(move || handle(stream));
        }
    });
    parameters(port)
}

/// The server of `real`, delayed until the returned sender is dropped.
pub(crate) fn delayed(real: Parameters) -> (Parameters, Sender<()>) {
    let (release, released) = channel();
    let released = Mutex::new(released);
    let wait = move || {
        let _ = released.lock().expect("no panic").recv();
    };
    (proxy(real, wait, copy_all), release)
}

/// The server of `real` over a line that carries 4 KiB of its responses in this time.
pub(crate) fn slow_line(real: Parameters, time: Duration) -> Parameters {
    let carry = move |from: &mut TcpStream, to: &mut TcpStream| {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            thread::sleep(time);
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
    };
    proxy(real, || {}, carry)
}

/// The server of `real`, which sends this many bytes over each connection, and then nothing.
pub(crate) fn stalling(real: Parameters, bytes: u64) -> Parameters {
    let carry = move |from: &mut TcpStream, to: &mut TcpStream| {
        let _ = copy(&mut from.take(bytes), to);
    };
    proxy(real, || {}, carry)
}

fn copy_all(from: &mut TcpStream, to: &mut TcpStream) {
    let _ = copy(from, to);
}

/// A proxy that calls `wait` before it connects to the server of `real`. `carry` forwards the
/// responses.
fn proxy(
    mut real: Parameters,
    wait: impl Fn() + Send + Sync + 'static,
    carry: impl Fn(&mut TcpStream, &mut TcpStream) + Send + Sync + 'static,
) -> Parameters {
    let (listener, port) = listen();
    let address = format!("{}:{}", real["host"], real["port"]);
    let (wait, carry) = (Arc::new(wait), Arc::new(carry));
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (wait, carry, address) = (wait.clone(), carry.clone(), address.clone());
            thread::spawn(move || {
                wait();
                let server = TcpStream::connect(address).expect("the server takes connections");
                let (mut from, mut to) = (clone(&server), clone(&client));
                thread::spawn(move || carry(&mut from, &mut to));
                copy(&mut &client, &mut &server)
            });
        }
    });
    real.insert("host".into(), "127.0.0.1".into());
    real.insert("port".into(), port.to_string());
    real
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a handle")
}
