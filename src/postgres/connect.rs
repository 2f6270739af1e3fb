//! Connection settings as libpq names them → a connection, under one deadline.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, SslMode, TargetSessionAttrs};

use super::error::Error;

/// Connection settings by their libpq name, as text.
pub type Settings = BTreeMap<String, String>;

/// Settings that only matter to a client that is not ours.
const IGNORED: &[&str] = &[
    "client_encoding",
    "fallback_application_name",
    "keepalives_count",
    "load_balance_hosts",
    "sslcompression",
];

/// The driver's configuration for these settings.
///
/// # Errors
/// Where a setting is unknown, has a value that is not understood, or asks for protection that
/// this version cannot give. Nothing is ever connected with less than was asked for.
pub fn config(settings: &Settings) -> Result<Config, Error> {
    let mut config = Config::new();
    config
        .application_name(format!("flagstaff {}", std::process::id()))
        .connect_timeout(Duration::from_secs(3))
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(Duration::from_secs(10));
    hosts(&mut config, settings)?;
    for (name, value) in settings {
        apply(&mut config, name, value)?;
    }
    Ok(config)
}

fn apply(config: &mut Config, name: &str, value: &str) -> Result<(), Error> {
    match name {
        // Hosts are read together. Our own deadline covers more than libpq's timeout does.
        "host" | "hostaddr" | "port" | "connect_timeout" => {}
        "user" => drop(config.user(value)),
        "password" => drop(config.password(value)),
        "dbname" => drop(config.dbname(value)),
        "options" => drop(config.options(value)),
        "application_name" => drop(config.application_name(value)),
        "sslmode" => drop(config.ssl_mode(ssl_mode(value)?)),
        // Ours is never encrypted by GSSAPI; whoever insists on it must not get less.
        "gssencmode" if value != "require" => {}
        "channel_binding" => drop(config.channel_binding(channel_binding(value)?)),
        "target_session_attrs" => drop(config.target_session_attrs(session_attrs(value)?)),
        "keepalives" => drop(config.keepalives(value != "0")),
        "keepalives_idle" => drop(config.keepalives_idle(seconds(name, value)?)),
        "keepalives_interval" => drop(config.keepalives_interval(seconds(name, value)?)),
        "tcp_user_timeout" => {
            let milliseconds = number(name, value)?;
            config.tcp_user_timeout(Duration::from_millis(milliseconds));
        }
        _ if IGNORED.contains(&name) => {}
        _ => return Err(Error::settings(format!("{name} is not supported"))),
    }
    Ok(())
}

/// Lists of hosts and ports go together by position, as in libpq.
fn hosts(config: &mut Config, settings: &Settings) -> Result<(), Error> {
    let list = |name: &str| settings.get(name).map_or("", String::as_str).split(',');
    let host_given = settings.get("host").is_some_and(|hosts| !hosts.is_empty());
    if host_given {
        for host in list("host") {
            config.host(host);
        }
    }
    if settings.get("hostaddr").is_some_and(|hosts| !hosts.is_empty()) {
        for address in list("hostaddr") {
            let address: IpAddr =
                address.parse().map_err(|_| invalid("hostaddr", "an IP address"))?;
            config.hostaddr(address);
        }
    } else if !host_given {
        config.host("localhost");
    }
    for port in list("port").filter(|port| !port.is_empty()) {
        config.port(port.parse().map_err(|_| invalid("port", "a number from 1 to 65535"))?);
    }
    Ok(())
}

fn ssl_mode(value: &str) -> Result<SslMode, Error> {
    match value {
        "disable" => Ok(SslMode::Disable),
        // Without TLS of our own, these fall back to what libpq falls back to.
        "allow" | "prefer" => Ok(SslMode::Prefer),
        _ => Err(Error::settings(format!("sslmode={value} is not supported"))),
    }
}

fn channel_binding(value: &str) -> Result<ChannelBinding, Error> {
    match value {
        "disable" => Ok(ChannelBinding::Disable),
        "prefer" => Ok(ChannelBinding::Prefer),
        "require" => Ok(ChannelBinding::Require),
        _ => Err(invalid("channel_binding", "disable, prefer or require")),
    }
}

fn session_attrs(value: &str) -> Result<TargetSessionAttrs, Error> {
    match value {
        "any" => Ok(TargetSessionAttrs::Any),
        "read-write" | "primary" => Ok(TargetSessionAttrs::ReadWrite),
        "read-only" | "standby" => Ok(TargetSessionAttrs::ReadOnly),
        _ => Err(Error::settings(format!("target_session_attrs={value} is not supported"))),
    }
}

fn seconds(name: &str, value: &str) -> Result<Duration, Error> {
    number(name, value).map(Duration::from_secs)
}

fn number(name: &str, value: &str) -> Result<u64, Error> {
    value.parse().map_err(|_| invalid(name, "a whole number"))
}

fn invalid(name: &str, expected: &str) -> Error {
    Error::settings(format!("{name} is not {expected}"))
}
