//! For a moment what a fuzzer does for as long as it is let: anything at all, from whatever bytes.

use proptest::collection::vec;
use proptest::prelude::*;

#[path = "../../fuzz/properties/bytes.rs"]
mod bytes;
#[path = "../../fuzz/properties/json.rs"]
mod json;
#[path = "../../fuzz/properties/rows.rs"]
mod rows;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn each_key_of_a_snapshot_has_a_reason_to_be_as_it_is(bytes in vec(any::<u8>(), 0..800)) {
        rows::rows_to_snapshot(&bytes);
    }

    #[test]
    fn values_are_made_only_where_python_would_make_the_same(
        text in r#"[-+.0-9eE"\\ a-z\[\]{}:,é🦀]{0,40}"#,
    ) {
        json::json_values(text.as_bytes());
    }
}
