//! Tables that inherit from a watched table: a load reads their rows, too.

use crate::postgres_shop::{PATIENCE, Shop, eventually};

const HEIR: &str = "
    CREATE TABLE {schema}.heir () INHERITS ({flag_table});
    INSERT INTO {schema}.heir VALUES (2, 'archived', true, 10);
";
const INHERIT: &str = "ALTER TABLE {schema}.heir INHERIT {flag_table}";
const NO_INHERIT: &str = "ALTER TABLE {schema}.heir NO INHERIT {flag_table}";

/// A shop with a table that inherited before, which its parent's entry in the catalog says forever.
fn shop_with_heir() -> Shop {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 10);
    shop.run(HEIR);
    shop.trigger("{schema}.heir", 'f');
    shop.run(NO_INHERIT);
    shop
}

#[test]
fn rows_of_a_table_that_inherited_only_during_a_load_are_gone_after_it() {
    let mut shop = shop_with_heir();
    let worker = shop.worker();
    // Only `identify` reads this table, so it waits between two loads.
    let mut holding = shop.other_session();
    holding.run("BEGIN; LOCK TABLE pg_catalog.pg_description IN ACCESS EXCLUSIVE MODE");
    shop.run(INHERIT);
    shop.set_rollout("new_checkout", 20);
    eventually(|| worker.percent("archived") == Some(10));
    shop.run(NO_INHERIT);
    holding.run("COMMIT");
    eventually(|| worker.percent("archived").is_none());
    assert_eq!(worker.percent("new_checkout"), Some(20));
}

#[test]
fn load_of_another_table_reads_the_rows_of_a_table_that_inherits_now() {
    let mut shop = shop_with_heir();
    let worker = shop.worker();
    shop.run(INHERIT);
    shop.value("gateway", r#""stripe""#);
    eventually(|| worker.percent("archived") == Some(10));
}

#[test]
fn refresh_during_an_inheritance_does_not_keep_its_rows() {
    let mut shop = shop_with_heir();
    let worker = shop.worker();
    shop.run(INHERIT);
    worker.engine.refresh(PATIENCE, &mut || false).expect("a load");
    assert_eq!(worker.percent("archived"), Some(10));
    shop.run(NO_INHERIT);
    shop.value("gateway", r#""stripe""#);
    eventually(|| worker.percent("archived").is_none());
}
