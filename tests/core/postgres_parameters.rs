//! Invalid connection parameters are an error, and never lead to a connection.

use flagstaff::postgres::connect::parameters::Parameters;
use flagstaff::postgres::connect::target::Target;
use flagstaff::postgres::error::ErrorKind;
use flagstaff::postgres::queries::{Names, Queries};
use flagstaff::postgres::status::RefreshMode;

use crate::postgres_shop::{Shop, Worker, eventually};

#[track_caller]
fn assert_rejected(name: &str, value: &str, message: &str) {
    assert_contradicts(&[(name, value)], message);
}

/// These parameters are rejected together.
#[track_caller]
fn assert_contradicts(given: &[(&str, &str)], message: &str) {
    let parameters: Parameters =
        given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let error = Target::new(&parameters).expect_err("it is rejected");
    assert_eq!(error.kind(), ErrorKind::Parameters);
    let expected = format!("connect: the connection parameters cannot be used: {message}");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn invalid_value_is_rejected() {
    assert_rejected("port", "none", "port is not a number from 1 to 65535");
    assert_rejected("port", "65536", "port is not a number from 1 to 65535");
    assert_rejected("hostaddr", "localhost", "hostaddr is not an IP address");
    assert_rejected("tcp_user_timeout", "1.5", "tcp_user_timeout is not a whole number");
    let bindings = "channel_binding is not disable, prefer or require";
    assert_rejected("channel_binding", "maybe", bindings);
}

#[test]
fn unsupported_protection_is_rejected() {
    assert_rejected("sslmode", "always", "sslmode=always is not supported");
    assert_rejected("target_session_attrs", "all", "target_session_attrs=all is not supported");
    assert_rejected("gssencmode", "require", "gssencmode is not supported");
    assert_rejected("sslcertmode", "require", "sslcertmode is not allow or disable");
    assert_rejected("sslsni", "on", "sslsni is not 1 or 0");
    assert_rejected("sslnegotiation", "none", "sslnegotiation is not postgres or direct");
    for name in ["ssl_min_protocol_version", "ssl_max_protocol_version"] {
        assert_rejected(name, "SSLv3", &format!("{name} is not TLSv1.2 or TLSv1.3"));
    }
}

#[test]
fn parameter_that_is_not_known_is_rejected_whatever_it_is() {
    for name in [
        "gssdelegation",
        "gsslib",
        "krbsrvname",
        "max_protocol_version",
        "min_protocol_version",
        "not_a_parameter",
        "oauth_client_id",
        "oauth_issuer",
        "passfile",
        "require_auth",
        "requirepeer",
        "scram_client_key",
        "scram_server_key",
        "service",
        "servicefile",
        "sslcrl",
        "sslcrldir",
        "sslkeylogfile",
        "sslpassword",
    ] {
        assert_rejected(name, "x", &format!("{name} is not supported"));
    }
}

#[test]
fn contradicting_protection_is_rejected() {
    assert_contradicts(
        &[("sslrootcert", "system"), ("sslmode", "require")],
        "sslrootcert=system needs sslmode=verify-full",
    );
    assert_contradicts(
        &[("sslnegotiation", "direct")],
        "sslnegotiation=direct needs sslmode=require or more",
    );
    assert_contradicts(
        &[("hostaddr", "127.0.0.1"), ("sslmode", "verify-full")],
        "sslmode=verify-full needs a host, not only hostaddr",
    );
    assert_contradicts(
        &[("ssl_min_protocol_version", "TLSv1.3"), ("ssl_max_protocol_version", "TLSv1.2")],
        "ssl_min_protocol_version is above the maximum",
    );
}

#[test]
fn parameters_of_other_clients_are_ignored() {
    let ignored = [
        ("client_encoding", "UTF8"),
        ("connect_timeout", "1"),
        ("fallback_application_name", "shop"),
        ("gssencmode", "disable"),
        ("keepalives_count", "3"),
        ("load_balance_hosts", "random"),
        ("sslcompression", "0"),
    ];
    let parameters = ignored.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert!(Target::new(&parameters).is_ok());
}

#[test]
fn debug_output_hides_the_password() {
    let mut options = Shop::open().options();
    options.parameters.insert("password".into(), "open sesame".into());
    assert!(!format!("{options:?}").contains("sesame"));
}

#[test]
fn debug_output_hides_names_in_server_messages() {
    let mut options = Shop::open().options();
    options.parameters.insert("dbname".into(), "mallory".into());
    let worker = Worker::start(&options);
    eventually(|| worker.mode() == RefreshMode::Down);
    let report = worker.engine.status();
    let error = report.last_error.clone().expect("it has failed");
    assert_eq!(error.sqlstate(), Some("3D000"));
    assert!(!format!("{error:?} {report:#?} {error}").contains("mallory"));
    assert!(!format!("{:?}", worker.engine).contains("mallory"));
}

#[test]
fn missing_name_is_part_of_the_error() {
    let error = Queries::new(&Names::new()).expect_err("no name is given");
    let expected = "connect: the connection parameters cannot be used: no name was given for ";
    assert!(error.to_string().starts_with(expected), "{error}");
}
