//! Connection settings as libpq names them → the driver's configuration, all but TLS.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, TargetSessionAttrs};

use super::error::Error;
use super::tls;

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
pub(super) fn config(settings: &Settings) -> Result<Config, Error> {
    let mut config = Config::new();
    config
        .application_name(format!("flagstaff {}", std::process::id()))
        .connect_timeout(Duration::from_secs(3))
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(Duration::from_secs(10));
    hosts(&mut config, settings)?;
    for (name, value) in settings.iter().filter(|(_, value)| !value.is_empty()) {
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
        _ if IGNORED.contains(&name) || tls::SETTINGS.contains(&name) => {}
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
            // The driver makes no handshake with a server that has no name.
            if !host_given {
                config.host(address.to_string());
            }
        }
    } else if !host_given {
        config.host("localhost");
    }
    for port in list("port").filter(|port| !port.is_empty()) {
        config.port(port.parse().map_err(|_| invalid("port", "a number from 1 to 65535"))?);
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(given: &[(&str, &str)]) -> Config {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        config(&given.iter().map(text).collect()).expect("usable settings")
    }

    #[test]
    fn hosts_and_ports_go_together_by_position() {
        let config = configured(&[("host", "one,two"), ("port", "1,2"), ("hostaddr", "::1,::2")]);
        assert_eq!((config.get_hosts().len(), config.get_ports()), (2, &[1, 2][..]));
        assert_eq!(config.get_hostaddrs().len(), 2);
    }

    #[test]
    fn an_address_without_a_host_is_its_own_name() {
        let config = configured(&[("hostaddr", "::1,::2")]);
        assert_eq!((config.get_hosts().len(), config.get_hostaddrs().len()), (2, 2));
    }
}
