//! Connection parameters as libpq names them → the driver's configuration, all but servers and TLS.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::ChannelBinding;

use crate::postgres::deadline;
use crate::postgres::error::Error;

/// Connection parameters by their libpq name, as text.
pub type Parameters = BTreeMap<String, String>;

/// The beginning of the `application_name` of an engine's connection.
pub(crate) const APPLICATION_NAME: &str = "flagstaff";
/// The `application_name` of the connections that write what was counted.
const NAME_OF_REPORTS: &str = "flagstaff-reports";

/// Parameters that other modules read. Our own deadlines replace `connect_timeout`.
const ELSEWHERE: &[&str] = &[
    "connect_timeout",
    "host",
    "hostaddr",
    "port",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
];

/// Parameters that only affect other clients.
const IGNORED: &[&str] = &[
    "client_encoding",
    "fallback_application_name",
    "keepalives_count",
    "load_balance_hosts",
    "sslcompression",
];

/// The driver's configuration for these parameters, without a server.
pub(crate) fn config(parameters: &Parameters) -> Result<Config, Error> {
    let mut config = Config::new();
    config
        .application_name(NAME_OF_REPORTS)
        .connect_timeout(deadline::ADDRESS)
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(Duration::from_secs(10));
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        apply(&mut config, name, value)?;
    }
    Ok(config)
}

fn apply(config: &mut Config, name: &str, value: &str) -> Result<(), Error> {
    match name {
        "user" => drop(config.user(value)),
        "password" => drop(config.password(value)),
        "dbname" => drop(config.dbname(value)),
        "options" => drop(config.options(value)),
        "application_name" => drop(config.application_name(value)),
        // GSSAPI encryption is not supported, so a deploy that requires it must not get less.
        "gssencmode" if value != "require" => {}
        "channel_binding" => drop(config.channel_binding(channel_binding(value)?)),
        "keepalives" => drop(config.keepalives(value != "0")),
        "keepalives_idle" => drop(config.keepalives_idle(seconds(name, value)?)),
        "keepalives_interval" => drop(config.keepalives_interval(seconds(name, value)?)),
        "tcp_user_timeout" => {
            let milliseconds = number(name, value)?;
            config.tcp_user_timeout(Duration::from_millis(milliseconds));
        }
        _ if ELSEWHERE.contains(&name) || IGNORED.contains(&name) => {}
        _ => return Err(Error::parameters(format!("{name} is not supported"))),
    }
    Ok(())
}

/// The value of a parameter. An empty one counts as absent, as in libpq.
pub(crate) fn given<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// Whether a parameter with two values has the one that is not the default.
pub(crate) fn is_alternative(
    parameters: &Parameters,
    name: &str,
    default: &str,
    alternative: &str,
) -> Result<bool, Error> {
    match given(parameters, name) {
        None => Ok(false),
        Some(value) if value == default => Ok(false),
        Some(value) if value == alternative => Ok(true),
        Some(_) => Err(Error::parameters(format!("{name} is not {default} or {alternative}"))),
    }
}

/// The error for a value that is not understood.
pub(crate) fn invalid(name: &str, expected: &str) -> Error {
    Error::parameters(format!("{name} is not {expected}"))
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
