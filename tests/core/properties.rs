//! The fuzz targets of the core, for a short time and with random bytes.

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
    fn any_rows_make_a_snapshot_that_follows_from_them(bytes in vec(any::<u8>(), 0..800)) {
        rows::rows_to_snapshot(&bytes);
    }

    #[test]
    fn any_json_is_decoded_only_as_python_decodes_it(
        text in r#"[-+.0-9eE"\\ a-z\[\]{}:,é🦀]{0,40}"#,
    ) {
        json::json_values(text.as_bytes());
    }
}
