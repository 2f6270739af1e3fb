//! The tables that a load reads.

use std::sync::Arc;

use flagstaff::postgres::error::ErrorKind;
use flagstaff::postgres::status::RefreshMode;

use crate::postgres_shop::{Shop, TRIES, Worker, eventually};

#[test]
fn load_without_a_table_or_a_column_fails() {
    for lacking in [
        "DROP TABLE {value_table}",
        "DROP TABLE {segment_table}",
        "ALTER TABLE {flag_table} DROP COLUMN {flag_rules}",
    ] {
        load_fails_after(lacking);
    }
}

fn load_fails_after(lacking: &str) {
    let mut shop = Shop::open();
    shop.run(lacking);
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
