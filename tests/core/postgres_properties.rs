//! For a moment what a fuzzer does for as long as it is let: settings that nobody would write.

use proptest::prelude::*;

#[path = "../../fuzz/properties/parameters.rs"]
mod parameters;

/// Lines of names and values: names that there are, and others.
const LINES: &str = concat!(
    "((host|hostaddr|port|sslmode|sslrootcert|options|keepalives_idle|tcp_user_timeout|",
    "target_session_attrs|application_name|[a-z_]{1,12})=[-:,./a-zA-Z0-9é\\x00\n ]{0,24}\n){0,8}",
);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn settings_are_understood_or_refused_without_a_secret(text in LINES) {
        parameters::connection_parameters(text.as_bytes());
    }
}
