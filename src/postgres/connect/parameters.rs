//! Connection parameters as libpq names them → the driver's configuration, all but TLS.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::ChannelBinding;

use crate::postgres::connect::tls;
use crate::postgres::error::Error;
use crate::postgres::refresh::worker_name::ANONYMOUS;

/// Connection parameters by their libpq name, as text.
pub type Parameters = BTreeMap<String, String>;

/// Parameters that only matter to a client that is not ours.
const IGNORED: &[&str] = &[
    "client_encoding",
    "fallback_application_name",
    "keepalives_count",
    "load_balance_hosts",
    "sslcompression",
];

/// The time for each address of a host: less than half of what the whole has, so that a host with
/// a dead address of one family is reached at the other.
const ADDRESS: Duration = Duration::from_millis(1400);

/// The driver's configuration for these parameters, without a server.
pub(crate) fn config(parameters: &Parameters) -> Result<Config, Error> {
    let mut config = Config::new();
    config
        .application_name(ANONYMOUS)
        .connect_timeout(ADDRESS)
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(Duration::from_secs(10));
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        apply(&mut config, name, value)?;
    }
    Ok(config)
}

fn apply(config: &mut Config, name: &str, value: &str) -> Result<(), Error> {
    match name {
        // Hosts and their roles are read elsewhere. Our own deadline covers more than libpq's.
        "host" | "hostaddr" | "port" | "connect_timeout" | "target_session_attrs" => {}
        "user" => drop(config.user(value)),
        "password" => drop(config.password(value)),
        "dbname" => drop(config.dbname(value)),
        "options" => drop(config.options(value)),
        "application_name" => drop(config.application_name(value)),
        // Ours is never encrypted by GSSAPI; whoever insists on it must not get less.
        "gssencmode" if value != "require" => {}
        "channel_binding" => drop(config.channel_binding(channel_binding(value)?)),
        "keepalives" => drop(config.keepalives(value != "0")),
        "keepalives_idle" => drop(config.keepalives_idle(seconds(name, value)?)),
        "keepalives_interval" => drop(config.keepalives_interval(seconds(name, value)?)),
        "tcp_user_timeout" => {
            let milliseconds = number(name, value)?;
            config.tcp_user_timeout(Duration::from_millis(milliseconds));
        }
        _ if IGNORED.contains(&name) || tls::TLS_PARAMETERS.contains(&name) => {}
        _ => return Err(Error::parameters(format!("{name} is not supported"))),
    }
    Ok(())
}

/// One of the servers that the parameters name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    host: String,
    address: Option<IpAddr>,
    port: u16,
}

impl Server {
    /// The configuration for this server alone.
    pub(crate) fn of(&self, config: &Config) -> Config {
        let mut config = config.clone();
        config.host(&self.host).port(self.port);
        if let Some(address) = self.address {
            config.hostaddr(address);
        }
        config
    }
}

/// The servers, in the order in which they are tried. Lists of hosts and ports go together by
/// position, as in libpq.
pub(crate) fn servers(parameters: &Parameters) -> Result<Vec<Server>, Error> {
    let (hosts, addresses) = (list(parameters, "host"), list(parameters, "hostaddr"));
    let ports = list(parameters, "port");
    let count = hosts.len().max(addresses.len()).max(1);
    for (name, given, alone) in [("hostaddr", &addresses, false), ("port", &ports, true)] {
        let fits = given.is_empty() || given.len() == count || (alone && given.len() == 1);
        if !fits || (!hosts.is_empty() && hosts.len() != count) {
            let what = format!("{name} and host are lists of different lengths");
            return Err(Error::parameters(what));
        }
    }
    (0..count).map(|position| server(position, &hosts, &addresses, &ports)).collect()
}

fn server(
    position: usize,
    hosts: &[&str],
    addresses: &[&str],
    ports: &[&str],
) -> Result<Server, Error> {
    let given = |list: &[&str]| {
        list.get(position).map(|entry| (*entry).to_owned()).filter(|entry| !entry.is_empty())
    };
    let address = given(addresses)
        .map(|address| address.parse().map_err(|_| invalid("hostaddr", "an IP address")))
        .transpose()?;
    let port = given(ports).or_else(|| ports.first().map(|port| (*port).to_owned()));
    let port = port.filter(|port| !port.is_empty()).unwrap_or_else(|| "5432".to_owned());
    let port = port.parse().ok().filter(|port| *port > 0);
    // The driver makes no handshake with a server that has no name.
    let named = given(hosts).or_else(|| address.map(|address: IpAddr| address.to_string()));
    Ok(Server {
        host: named.unwrap_or_else(|| "localhost".to_owned()),
        address,
        port: port.ok_or_else(|| invalid("port", "a number from 1 to 65535"))?,
    })
}

fn list<'a>(parameters: &'a Parameters, name: &str) -> Vec<&'a str> {
    let given = parameters.get(name).filter(|value| !value.is_empty());
    given.map_or_else(Vec::new, |value| value.split(',').map(str::trim).collect())
}

/// Which of several servers will do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    #[default]
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

impl Role {
    /// The roles that are looked for in turn.
    pub(crate) const fn rounds(self) -> &'static [Self] {
        match self {
            Self::Any => &[Self::Any],
            Self::ReadWrite => &[Self::ReadWrite],
            Self::ReadOnly => &[Self::ReadOnly],
            Self::Primary => &[Self::Primary],
            Self::Standby => &[Self::Standby],
            Self::PreferStandby => &[Self::Standby, Self::Any],
        }
    }

    /// Whether a server of this kind will do.
    pub(crate) const fn suits(self, standby: bool, read_only: bool) -> bool {
        match self {
            Self::Any | Self::PreferStandby => true,
            Self::ReadWrite => !standby && !read_only,
            Self::ReadOnly => standby || read_only,
            Self::Primary => !standby,
            Self::Standby => standby,
        }
    }
}

/// The role that `target_session_attrs` asks for.
pub(crate) fn role(parameters: &Parameters) -> Result<Role, Error> {
    match parameters.get("target_session_attrs").map_or("", String::as_str) {
        "" | "any" => Ok(Role::Any),
        "read-write" => Ok(Role::ReadWrite),
        "read-only" => Ok(Role::ReadOnly),
        "primary" => Ok(Role::Primary),
        "standby" => Ok(Role::Standby),
        "prefer-standby" => Ok(Role::PreferStandby),
        value => Err(Error::parameters(format!("target_session_attrs={value} is not supported"))),
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

fn seconds(name: &str, value: &str) -> Result<Duration, Error> {
    number(name, value).map(Duration::from_secs)
}

fn number(name: &str, value: &str) -> Result<u64, Error> {
    value.parse().map_err(|_| invalid(name, "a whole number"))
}

fn invalid(name: &str, expected: &str) -> Error {
    Error::parameters(format!("{name} is not {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(given: &[(&str, &str)]) -> Parameters {
        given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn found(given: &[(&str, &str)]) -> Vec<(String, Option<String>, u16)> {
        let found = servers(&parameters(given)).expect("usable settings").into_iter();
        found
            .map(|server| (server.host, server.address.map(|ip| ip.to_string()), server.port))
            .collect()
    }

    fn at(host: &str, address: Option<&str>, port: u16) -> (String, Option<String>, u16) {
        (host.to_owned(), address.map(str::to_owned), port)
    }

    #[test]
    fn hosts_and_ports_go_together_by_position() {
        let given = [("host", "one,two"), ("port", "1,2"), ("hostaddr", "::1,::2")];
        assert_eq!(found(&given), [at("one", Some("::1"), 1), at("two", Some("::2"), 2)]);
    }

    #[test]
    fn one_port_is_that_of_all_hosts() {
        let given = [("host", "one,two"), ("port", "6000")];
        assert_eq!(found(&given), [at("one", None, 6000), at("two", None, 6000)]);
        assert_eq!(found(&[("host", "one,two")])[1].2, 5432);
    }

    #[test]
    fn an_address_without_a_host_is_its_own_name() {
        assert_eq!(found(&[("hostaddr", "::1")]), [at("::1", Some("::1"), 5432)]);
    }

    #[test]
    fn lists_of_different_lengths_are_refused() {
        for given in
            [[("host", "one,two"), ("port", "1,2,3")], [("host", "a,b"), ("hostaddr", "::1")]]
        {
            assert!(servers(&parameters(&given)).is_err());
        }
    }

    #[test]
    fn a_standby_that_is_preferred_is_looked_for_first() {
        let role =
            role(&parameters(&[("target_session_attrs", "prefer-standby")])).expect("a role");
        assert_eq!(role.rounds(), [Role::Standby, Role::Any]);
        assert!(role.rounds()[0].suits(true, true) && !role.rounds()[0].suits(false, false));
    }

    #[test]
    fn a_primary_may_be_read_only_for_us() {
        assert!(Role::Primary.suits(false, true) && !Role::ReadWrite.suits(false, true));
    }
}
