//! The fuzz targets of the core, for a short time and with random bytes.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[path = "../../fuzz/properties/bytes.rs"]
mod bytes;
#[path = "../../fuzz/properties/database.rs"]
mod database;
#[path = "../../fuzz/properties/json.rs"]
mod json;
#[path = "../../fuzz/properties/random_rows.rs"]
mod random_rows;
#[path = "../../fuzz/properties/row_loads.rs"]
mod row_loads;
#[path = "../../fuzz/properties/rows.rs"]
mod rows;
#[path = "../../fuzz/properties/rules.rs"]
mod rules;

/// JSON that is nearly always rules, with one random text in it.
fn nearly_rules(random: &str) -> Vec<String> {
    let condition = |operator: &str, value: &str| {
        format!(r#"{{"attribute": "a", "operator": "{operator}", "values": [{value}]}}"#)
    };
    let operators =
        ["in", "contains", "regex", "lt", "gte", "version_lt", "version_gte", "isnull", random];
    let values = [serde_json::json!(random).to_string(), random.to_owned()];
    let conditions = operators
        .iter()
        .flat_map(|operator| values.iter().map(move |value| condition(operator, value)));
    let segment = r#"{"segment": "s"}"#.to_owned();
    conditions
        .chain([segment, random.to_owned()])
        .map(|condition| {
            let segment = values[0].as_str();
            let rules = format!(r#"[{{"name": {segment}, "conditions": [{condition}]}}]"#);
            format!("{rules}\0[{condition}]\0{random}")
        })
        .collect()
}

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

proptest! {
    #[test]
    fn any_rules_are_evaluated_or_an_error_of_one_line(
        random in prop_oneof![any::<String>(), "[-+.0-9eETZ: \"ab\\\\(){}|*?^$\\[\\]]{0,24}"],
    ) {
        for text in nearly_rules(&random) {
            rules::rules(text.as_bytes());
        }
    }
}

#[test]
fn load_of_changed_rows_is_like_a_load_of_all_rows_and_seldom_not_enough() {
    let (asked, enough) = (Cell::new(0), Cell::new(0));
    let config = ProptestConfig { source_file: Some(file!()), ..ProptestConfig::with_cases(500) };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&vec(any::<u8>(), 0..800), |bytes| {
        let loads = row_loads::row_loads(&bytes);
        asked.set(asked.get() + loads.asked);
        enough.set(enough.get() + loads.enough);
        Ok(())
    });
    outcome.expect("they are alike");
    let share = 100 * enough.get() / asked.get();
    assert!(asked.get() > 1_000 && share > 60, "{share} % of {}", asked.get());
}
