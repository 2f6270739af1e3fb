//! The servers that the connection parameters name, in the order in which they are tried.

use std::net::IpAddr;

use tokio_postgres::Config;

use crate::postgres::connect::parameters::{Parameters, given, invalid};
use crate::postgres::error::Error;

/// One server of the connection parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    host: String,
    address: Option<IpAddr>,
    port: u16,
}

impl Server {
    /// Makes it the server of a configuration. The driver looks the host up.
    pub(super) fn name_in(&self, config: &mut Config) {
        config.host(&self.host).port(self.port);
        if let Some(address) = self.address {
            config.hostaddr(address);
        }
    }
}

/// The servers in order. Lists of hosts, addresses and ports match by position, as in libpq.
pub(crate) fn servers(parameters: &Parameters) -> Result<Vec<Server>, Error> {
    let (hosts, addresses) = (list(parameters, "host"), list(parameters, "hostaddr"));
    let ports = list(parameters, "port");
    let count = hosts.len().max(addresses.len()).max(1);
    for (name, values, one_for_all) in [("hostaddr", &addresses, false), ("port", &ports, true)] {
        let fits = values.is_empty() || values.len() == count || (one_for_all && values.len() == 1);
        if !fits || (!hosts.is_empty() && hosts.len() != count) {
            let detail = format!("{name} and host are lists of different lengths");
            return Err(Error::parameters(detail));
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
    let at_position = |list: &[&str]| {
        list.get(position).map(|entry| (*entry).to_owned()).filter(|entry| !entry.is_empty())
    };
    let address = at_position(addresses)
        .map(|address| address.parse().map_err(|_| invalid("hostaddr", "an IP address")))
        .transpose()?;
    let port = at_position(ports).or_else(|| ports.first().map(|port| (*port).to_owned()));
    let port = port.filter(|port| !port.is_empty()).unwrap_or_else(|| "5432".to_owned());
    let port = port.parse().ok().filter(|port| *port > 0);
    // The driver makes no TLS handshake without a host name.
    let host = at_position(hosts).or_else(|| address.map(|address: IpAddr| address.to_string()));
    Ok(Server {
        host: host.unwrap_or_else(|| "localhost".to_owned()),
        address,
        port: port.ok_or_else(|| invalid("port", "a number from 1 to 65535"))?,
    })
}

fn list<'a>(parameters: &'a Parameters, name: &str) -> Vec<&'a str> {
    given(parameters, name).map_or_else(Vec::new, |value| value.split(',').map(str::trim).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(values: &[(&str, &str)]) -> Parameters {
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn found(values: &[(&str, &str)]) -> Vec<(String, Option<String>, u16)> {
        let found = servers(&parameters(values)).expect("valid parameters").into_iter();
        found
            .map(|server| (server.host, server.address.map(|ip| ip.to_string()), server.port))
            .collect()
    }

    fn at(host: &str, address: Option<&str>, port: u16) -> (String, Option<String>, u16) {
        (host.to_owned(), address.map(str::to_owned), port)
    }

    #[test]
    fn hosts_addresses_and_ports_match_by_position() {
        let values = [("host", "one,two"), ("port", "1,2"), ("hostaddr", "::1,::2")];
        assert_eq!(found(&values), [at("one", Some("::1"), 1), at("two", Some("::2"), 2)]);
    }

    #[test]
    fn single_port_applies_to_all_hosts() {
        let values = [("host", "one,two"), ("port", "6000")];
        assert_eq!(found(&values), [at("one", None, 6000), at("two", None, 6000)]);
        assert_eq!(found(&[("host", "one,two")])[1].2, 5432);
    }

    #[test]
    fn address_without_a_host_is_the_host() {
        assert_eq!(found(&[("hostaddr", "::1")]), [at("::1", Some("::1"), 5432)]);
    }

    #[test]
    fn lists_of_different_lengths_are_rejected() {
        for values in
            [[("host", "one,two"), ("port", "1,2,3")], [("host", "a,b"), ("hostaddr", "::1")]]
        {
            assert!(servers(&parameters(&values)).is_err());
        }
    }
}
