//! A load asks only for the members of groups that the new tokens name, or reads all of them.

use flagstaff::postgres::status::RefreshMode;
use flagstaff::subject::Subject;

use crate::postgres_shop::{Shop, Worker};

const TABLES: &str = "
    CREATE TABLE {group_table} (id bigint, name text);
    CREATE TABLE {membership_table} (group_id bigint, user_id bigint);
    INSERT INTO {group_table} VALUES (1, 'beta'), (2, 'staff'), (3, 'other'), (4, 'beta');
    INSERT INTO {membership_table} VALUES (1, 7), (2, 7), (3, 7);
";

/// A shop whose rules name the groups `beta`, of which there are two, `staff` and `new`, which does
/// not exist. Each has user 7.
fn shop() -> Shop {
    let mut shop = Shop::open();
    for (place, name) in [
        ("group_table", "{schema}.groups"),
        ("group_pk", "id"),
        ("group_pk_type", "int8"),
        ("group_name", "name"),
        ("membership_table", "{schema}.members"),
        ("membership_group", "group_id"),
        ("membership_user", "user_id"),
        ("membership_user_type", "int8"),
        ("membership_user_key_type", "int8"),
    ] {
        let name = shop.filled(name);
        shop.names.insert(place.into(), name);
    }
    shop.run(TABLES);
    set_rules(&mut shop, r#"["beta", "staff", "new"]"#);
    shop
}

/// Lets the rules of the only flag name these groups.
fn set_rules(shop: &mut Shop, groups: &str) {
    shop.run(&format!(
        r#"DELETE FROM {{flag_table}}; INSERT INTO {{flag_table}} VALUES (1, 'a', true, 0,
        '[{{"conditions": [{{"attribute": "groups", "operator": "in", "values": {groups}}}]}}]')"#
    ));
}

/// Runs a statement on the tables of groups, and lets the worker load a token with these pairs.
#[track_caller]
fn change(shop: &mut Shop, worker: &Worker, statement: &str, pairs: &str) {
    let token = format!("SELECT {{schema}}.flagstaff_write_token_v1('g', {pairs})");
    shop.run_and_load(worker, &format!("BEGIN; {statement}; {token}; COMMIT"));
}

fn members(worker: &Worker, group: &str) -> Vec<i64> {
    let snapshot = worker.snapshot();
    let members = snapshot.groups().and_then(|groups| groups.members(group));
    let is_member = |user: &i64| members.is_some_and(|set| set.contains(&Subject::Integer(*user)));
    (7..=12).filter(is_member).collect()
}

const ALL_JOIN: &str = "INSERT INTO {membership_table} VALUES (1, 8), (1, 9), (2, 8), (3, 8)";

#[test]
fn token_with_pairs_reads_these_members_only() {
    let mut shop = shop();
    let worker = shop.worker();
    assert_eq!((members(&worker, "beta"), members(&worker, "staff")), (vec![7], vec![7]));
    change(&mut shop, &worker, ALL_JOIN, "ARRAY[ARRAY['1', '8'], ARRAY['2', '10']]");
    assert_eq!(members(&worker, "beta"), [7, 8]);
    assert_eq!(members(&worker, "staff"), [7]);
    change(
        &mut shop,
        &worker,
        "DELETE FROM {membership_table} WHERE user_id = 7",
        "ARRAY['1', '7']",
    );
    assert_eq!(members(&worker, "beta"), [8]);
    assert_eq!((worker.mode(), worker.engine.status().failures), (RefreshMode::Live, 0));
}

#[test]
fn member_of_one_of_two_groups_with_the_same_name_stays_a_member() {
    let mut shop = shop();
    shop.run("INSERT INTO {membership_table} VALUES (4, 7), (4, 8)");
    let worker = shop.worker();
    change(
        &mut shop,
        &worker,
        "DELETE FROM {membership_table} WHERE group_id = 4",
        "ARRAY[ARRAY['4', '7'], ARRAY['4', '8']]",
    );
    assert_eq!(members(&worker, "beta"), [7]);
}

#[test]
fn pair_of_a_group_that_no_rule_names_changes_nothing() {
    let mut shop = shop();
    let worker = shop.worker();
    change(
        &mut shop,
        &worker,
        ALL_JOIN,
        "ARRAY[ARRAY['3', '8'], ARRAY['99', '8'], ARRAY['2', '8']]",
    );
    assert_eq!(members(&worker, "staff"), [7, 8]);
    assert_eq!((members(&worker, "beta"), members(&worker, "other")), (vec![7], vec![]));
}

#[test]
fn token_without_pairs_reads_all_members() {
    let mut shop = shop();
    let worker = shop.worker();
    change(&mut shop, &worker, ALL_JOIN, "NULL");
    assert_eq!(members(&worker, "beta"), [7, 8, 9]);
    assert_eq!(members(&worker, "staff"), [7, 8]);
}

#[test]
fn pair_of_a_group_that_was_not_there_before_reads_all_members() {
    let mut shop = shop();
    let worker = shop.worker();
    let statement = format!("INSERT INTO {{group_table}} VALUES (5, 'new'); {ALL_JOIN}");
    change(&mut shop, &worker, &statement, "ARRAY['5', '8']");
    assert_eq!(members(&worker, "beta"), [7, 8, 9]);
    assert!(worker.problems().is_empty());
}

#[test]
fn pair_beside_rules_that_name_another_group_reads_all_members() {
    let mut shop = shop();
    let worker = shop.worker();
    shop.run("BEGIN");
    set_rules(&mut shop, r#"["beta", "other"]"#);
    let token = "SELECT {schema}.flagstaff_write_token_v1('g', ARRAY['1', '8'])";
    shop.run_and_load(&worker, &format!("{ALL_JOIN}; {token}; COMMIT"));
    assert_eq!(members(&worker, "other"), [7, 8]);
    assert_eq!(members(&worker, "beta"), [7, 8, 9]);
}

#[test]
fn keys_with_other_types_than_the_names_say_read_all_members() {
    let mut shop = shop();
    shop.run(
        "ALTER TABLE {group_table} ALTER id TYPE text;
        ALTER TABLE {membership_table} ALTER group_id TYPE text",
    );
    let worker = shop.worker();
    change(&mut shop, &worker, ALL_JOIN, "ARRAY['1', '8']");
    assert_eq!(members(&worker, "beta"), [7, 8, 9]);
    change(
        &mut shop,
        &worker,
        "DELETE FROM {membership_table} WHERE user_id = 9",
        "ARRAY['x', '9']",
    );
    assert_eq!(members(&worker, "beta"), [7, 8]);
    assert_eq!((worker.mode(), worker.engine.status().failures), (RefreshMode::Live, 0));
}

#[test]
fn rules_that_name_another_group_read_it_and_the_next_load_reads_it_once_more() {
    let mut shop = shop();
    let worker = shop.worker();
    let mut late = shop.other_session();
    // When this began, no rule named the group, so it writes no token.
    late.run("BEGIN; INSERT INTO {membership_table} VALUES (3, 8)");
    set_rules(&mut shop, r#"["other"]"#);
    shop.until_loaded(&worker);
    assert_eq!(members(&worker, "other"), [7]);
    late.run("COMMIT");
    shop.allow(1, "5");
    shop.until_loaded(&worker);
    assert_eq!(members(&worker, "other"), [7, 8]);
}

#[test]
fn rules_of_a_value_that_name_another_group_read_it() {
    let mut shop = shop();
    shop.run("ALTER TABLE {value_table} ADD COLUMN rules jsonb NOT NULL DEFAULT '[]'");
    shop.names.insert("value_rules".into(), "rules".into());
    let worker = shop.worker();
    assert_eq!(members(&worker, "other"), [0_i64; 0]);
    shop.run_and_load(
        &worker,
        r#"INSERT INTO {value_table} ({value_key}, {value_value}, rules) VALUES ('limit', '1',
        '[{"value": 2, "conditions": [
            {"attribute": "groups", "operator": "in", "values": ["other"]}]}]')"#,
    );
    assert_eq!(members(&worker, "other"), [7]);
}
