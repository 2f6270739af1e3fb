//! The fuzz target of the connection parameters, for a short time and with random lines.

use proptest::prelude::*;

#[path = "../../fuzz/properties/parameters.rs"]
mod parameters;

/// Lines of names and values, with known and unknown names.
const LINES: &str = concat!(
    "((host|hostaddr|port|sslmode|sslrootcert|options|keepalives_idle|tcp_user_timeout|",
    "target_session_attrs|application_name|[a-z_]{1,12})=[-:,./a-zA-Z0-9é\\x00\n ]{0,24}\n){0,8}",
);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_parameters_are_accepted_or_rejected_without_a_secret(text in LINES) {
        parameters::connection_parameters(text.as_bytes());
    }
}
