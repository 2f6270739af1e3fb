//! A worker loads a database that lacks the newest tables and columns, and says what is missing.

use std::sync::Arc;
use std::time::Duration;

use flagstaff::postgres::engine::Options;
use flagstaff::postgres::error::ErrorKind;
use flagstaff::postgres::status::RefreshMode;

use crate::postgres_shop::{PATIENCE, SEGMENTS, Shop, TRIES, Worker, eventually};

fn polling(shop: &Shop) -> Options {
    Options { poll_interval: Duration::from_millis(50), ..shop.options() }
}

fn no_rules(shop: &Shop) -> String {
    shop.filled(
        "{flag_table} has no column {flag_rules}, so flags have no rules: run \"manage.py migrate\"",
    )
}

fn no_segments(shop: &Shop) -> String {
    shop.filled(
        "there is no table {segment_table}, so rules find no segments: run \"manage.py migrate\"",
    )
}

#[test]
fn worker_of_a_migrated_database_has_no_schema_problem() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 10);
    let worker = shop.worker();
    assert_eq!((worker.mode(), worker.schema_problems()), (RefreshMode::Live, Vec::new()));
    assert_eq!(worker.percent("new_checkout"), Some(10));
}

#[test]
fn worker_of_a_database_that_is_not_migrated_loads_and_says_what_is_missing() {
    let mut shop = Shop::not_migrated();
    shop.flag(1, "new_checkout", 10);
    let worker = shop.worker();
    assert_eq!(worker.mode(), RefreshMode::Live);
    eventually(|| worker.schema_problems() == [no_rules(&shop), no_segments(&shop)]);
    shop.set_rollout("new_checkout", 20);
    eventually(|| worker.percent("new_checkout") == Some(20));
    assert_eq!(worker.engine.status().failures, 0);
}

#[test]
fn refresh_of_a_database_that_is_not_migrated_loads() {
    let mut shop = Shop::not_migrated();
    let worker = shop.worker_without_notifications();
    shop.flag(1, "new_checkout", 10);
    worker.engine.refresh(PATIENCE, &mut || false).expect("a load");
    assert_eq!(worker.percent("new_checkout"), Some(10));
}

#[test]
fn migration_is_noticed_by_the_next_poll() {
    let mut shop = Shop::not_migrated();
    let worker = Worker::loaded(&polling(&shop));
    eventually(|| worker.schema_problems().len() == 2);
    shop.run("ALTER TABLE {flag_table} ADD COLUMN {flag_rules} jsonb NOT NULL DEFAULT '[]'");
    shop.run(SEGMENTS);
    shop.trigger("{segment_table}", 's');
    eventually(|| worker.schema_problems().is_empty());
    assert_eq!((worker.mode(), worker.engine.status().failures), (RefreshMode::Live, 0));
}

#[test]
fn migration_that_is_taken_back_is_survived() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 10);
    let worker = Worker::loaded(&polling(&shop));
    shop.run("ALTER TABLE {flag_table} DROP COLUMN {flag_rules}; DROP TABLE {segment_table}");
    shop.set_rollout("new_checkout", 20);
    eventually(|| worker.percent("new_checkout") == Some(20));
    eventually(|| worker.schema_problems() == [no_rules(&shop), no_segments(&shop)]);
    eventually(|| worker.mode() == RefreshMode::Live);
}

#[test]
fn segments_that_the_role_may_not_read_hide_no_flag() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 10);
    let role = format!("\"clerk of {}\"", shop.application);
    shop.run(&format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {{schema}} TO {role};
        GRANT SELECT ON {{token_table}}, {{flag_table}}, {{allowed_users_table}}, {{value_table}}
        TO {role}; GRANT EXECUTE ON FUNCTION {{worker_function}} TO {role}"
    ));
    let mut options = polling(&shop);
    options.parameters.insert("user".into(), role.trim_matches('"').to_owned());
    let worker = Worker::loaded(&options);
    assert_eq!(worker.percent("new_checkout"), Some(10));
    let expected = shop.filled(
        "the role may not read {segment_table}, so rules find no segments: GRANT SELECT on it",
    );
    eventually(|| worker.schema_problems() == [expected.as_str()]);
    shop.run(&format!("GRANT SELECT ON {{segment_table}} TO {role}"));
    eventually(|| worker.schema_problems().is_empty());
    drop(worker);
    shop.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn project_without_the_column_of_rules_or_without_segments_lacks_nothing() {
    let mut without_rules = Shop::open();
    without_rules.run("ALTER TABLE {flag_table} DROP COLUMN {flag_rules}");
    without_rules.names.insert("flag_rules".into(), "NULL::jsonb".into());
    let mut without_segments = Shop::open();
    without_segments.run("DROP TABLE {segment_table}");
    without_segments.names.remove("segment_table");
    for mut shop in [without_rules, without_segments] {
        shop.flag(1, "new_checkout", 10);
        let worker = shop.worker();
        assert_eq!((worker.mode(), worker.schema_problems()), (RefreshMode::Live, Vec::new()));
        assert_eq!(worker.percent("new_checkout"), Some(10));
    }
}

#[test]
fn table_that_every_project_has_is_required() {
    let mut shop = Shop::open();
    shop.run("DROP TABLE {value_table}");
    let worker = Worker::start(&shop.options());
    let error = worker.engine.refresh(TRIES, &mut || false).expect_err("a table is missing");
    assert_eq!(error.kind(), ErrorKind::Missing);
}

#[test]
fn flag_is_disabled_beside_rules_over_256_kib() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 10);
    let worker = shop.worker();
    shop.run(
        "UPDATE {flag_table} SET {flag_enabled} = false,
            {flag_rules} = jsonb_build_array(repeat('x', 256 * 1024))",
    );
    eventually(|| !worker.snapshot().flag("new_checkout").expect("the flag").enabled);
}

#[test]
fn change_of_a_segment_shares_the_other_tables() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 10);
    shop.value("gateway", r#""stripe""#);
    let worker = shop.worker();
    let before = worker.snapshot();
    shop.segment(1, "enterprise");
    eventually(|| !Arc::ptr_eq(&worker.snapshot(), &before));
    let after = worker.snapshot();
    let flags = [&before, &after].map(|snapshot| snapshot.flag("new_checkout").expect("the flag"));
    assert!(std::ptr::eq(flags[0], flags[1]));
    let values = [&before, &after].map(|snapshot| snapshot.value("gateway").expect("the value"));
    assert!(std::ptr::eq(values[0], values[1]));
}

#[test]
fn segments_without_a_token_trigger_make_every_poll_load() {
    let mut shop = Shop::open();
    shop.run("DROP TRIGGER flagstaff_token_delete_v1 ON {segment_table}");
    let worker = shop.worker();
    assert_eq!(worker.mode(), RefreshMode::Reload);
    let reason = worker.engine.status().reason.expect("a reason").to_string();
    assert!(reason.ends_with("\"Segment\""), "{reason}");
}

#[test]
fn token_of_a_relation_that_the_worker_does_not_know_keeps_it_live() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 10);
    let worker = shop.worker();
    let before = worker.snapshot();
    shop.run("SELECT {schema}.flagstaff_write_token_v1('x', NULL)");
    eventually(|| !Arc::ptr_eq(&worker.snapshot(), &before));
    shop.set_rollout("new_checkout", 20);
    eventually(|| worker.percent("new_checkout") == Some(20));
    assert_eq!((worker.mode(), worker.engine.status().failures), (RefreshMode::Live, 0));
}
