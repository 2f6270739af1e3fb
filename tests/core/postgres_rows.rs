//! A load reads only the rows that the new tokens name, or whole tables if tokens may name too few.
//!
//! A forged token shows which of both it was: it names one row of a change of two.

use std::time::Duration;

use flagstaff::postgres::engine::Options;
use flagstaff::postgres::status::RefreshMode;
use flagstaff::snapshot::Stored;
use flagstaff::stored_value::StoredValue;
use flagstaff::subject::Subject;

use crate::postgres_shop::{PATIENCE, Shop, TOKENS, Worker, eventually};

const NAMED: &str = "named";
const UNNAMED: &str = "unnamed";
const CONDITIONS: &str = r#"[{"attribute": "plan", "operator": "in", "values": ["pro"]}]"#;

/// A shop with the flags `named` and `unnamed`, at 0 %, with the primary keys 1 and 2.
fn shop() -> Shop {
    let mut shop = Shop::open();
    shop.flag(1, NAMED, 0);
    shop.flag(2, UNNAMED, 0);
    shop
}

/// A statement on several rows, whose token is changed to name only these keys.
#[track_caller]
fn forge(shop: &mut Shop, statement: &str, pks: &str) {
    shop.run(&format!(
        "BEGIN; {statement}; UPDATE {{token_table}} SET pks = {pks}
        WHERE id = (SELECT max(id) FROM {{token_table}}); COMMIT"
    ));
}

/// Changes both flags with a token that names only the first one.
#[track_caller]
fn change_both(shop: &mut Shop, percent: i32) {
    let statement = format!("UPDATE {{flag_table}} SET {{flag_rollout}} = {percent}");
    forge(shop, &statement, "ARRAY['1']");
}

/// Waits until the worker has loaded a change of both flags, and returns whether it has read only the
/// one that was named.
#[track_caller]
fn reads_named_only(worker: &Worker, percent: i32) -> bool {
    eventually(|| worker.percent(NAMED) == Some(percent));
    worker.percent(UNNAMED) != Some(percent)
}

/// Lets the worker miss a change of the flag `unnamed`.
#[track_caller]
fn miss_a_change(shop: &mut Shop, worker: &Worker) {
    change_both(shop, 50);
    assert!(reads_named_only(worker, 50));
}

/// Whether the worker still misses the change.
fn misses_the_change(worker: &Worker) -> bool {
    worker.percent(UNNAMED) == Some(0)
}

fn value_of(worker: &Worker, key: &str) -> Option<StoredValue> {
    worker.snapshot().value(key).map(Stored::value).cloned()
}

fn allows(worker: &Worker, key: &str, user: &Subject<'_>) -> bool {
    let snapshot = worker.snapshot();
    snapshot.flag(key).is_some_and(|flag| flag.allowed_users.contains(user))
}

mod rows {
    use super::*;

    #[test]
    fn change_of_a_flag_reads_that_row_only() {
        let mut shop = shop();
        let worker = shop.worker();
        miss_a_change(&mut shop, &worker);
        change_both(&mut shop, 60);
        assert!(reads_named_only(&worker, 60));
        assert_eq!((worker.mode(), worker.engine.status().failures), (RefreshMode::Live, 0));
    }

    #[test]
    fn change_of_a_value_reads_that_row_only() {
        let mut shop = Shop::open();
        shop.value(NAMED, "0");
        shop.value(UNNAMED, "0");
        let worker = shop.worker();
        let key = "(SELECT ARRAY[id::text] FROM {value_table} WHERE key = 'named')";
        forge(&mut shop, "UPDATE {value_table} SET {value_value} = '1'", key);
        shop.until_loaded(&worker);
        assert_eq!(value_of(&worker, NAMED), Some(StoredValue::Integer(1)));
        assert_eq!(value_of(&worker, UNNAMED), Some(StoredValue::Integer(0)));
    }

    #[test]
    fn change_of_a_segment_reads_that_row_only() {
        let mut shop = Shop::open();
        let worker = shop.worker();
        let before = worker.snapshot();
        let inserted = format!(
            "INSERT INTO {{segment_table}} SELECT number, 'segment ' || number, \
            '{CONDITIONS}' FROM generate_series(1, 3) AS number"
        );
        forge(&mut shop, &inserted, "ARRAY['1', '3']");
        shop.until_loaded(&worker);
        assert_eq!(before.differences(&worker.snapshot()).len(), 2);
    }

    #[test]
    fn change_of_allowed_users_reads_these_pairs_only() {
        let mut shop = shop();
        shop.allow(2, "6");
        let worker = shop.worker();
        let inserted = "INSERT INTO {allowed_users_table} VALUES (1, 7), (1, 8), (2, 7)";
        forge(&mut shop, inserted, "ARRAY[ARRAY['1', '7'], ARRAY['2', '9']]");
        shop.until_loaded(&worker);
        let named = [7, 8].map(|user| allows(&worker, NAMED, &Subject::Integer(user)));
        assert_eq!(named, [true, false]);
        let of_other = [6, 7].map(|user| allows(&worker, UNNAMED, &Subject::Integer(user)));
        assert_eq!(of_other, [true, false]);
    }

    #[test]
    fn change_of_another_table_does_not_read_the_flags() {
        let mut shop = shop();
        let worker = shop.worker();
        miss_a_change(&mut shop, &worker);
        shop.value("gateway", "1");
        shop.until_loaded(&worker);
        assert!(value_of(&worker, "gateway").is_some());
        assert!(misses_the_change(&worker));
    }

    #[test]
    fn rows_that_are_inserted_renamed_swapped_or_deleted_are_loaded() {
        let mut shop = shop();
        let worker = shop.worker();
        shop.flag(3, "third", 30);
        shop.until_loaded(&worker);
        assert_eq!(worker.percent("third"), Some(30));
        let renamed = "UPDATE {flag_table} SET {flag_key} = 'renamed' WHERE id = 3";
        shop.run_and_load(&worker, renamed);
        assert_eq!((worker.percent("renamed"), worker.percent("third")), (Some(30), None));
        shop.run_and_load(
            &worker,
            "UPDATE {flag_table} SET {flag_rollout} = id, {flag_key} =
                CASE id WHEN 1 THEN 'unnamed' WHEN 2 THEN 'named' ELSE 'renamed' END",
        );
        assert_eq!((worker.percent(NAMED), worker.percent(UNNAMED)), (Some(2), Some(1)));
        shop.run_and_load(&worker, "DELETE FROM {flag_table} WHERE id = 2");
        assert_eq!(worker.percent(NAMED), None);
        let moved = "UPDATE {flag_table} SET id = 4, {flag_rollout} = 4 WHERE id = 1";
        shop.run_and_load(&worker, moved);
        assert_eq!(worker.percent(UNNAMED), Some(4));
        assert_eq!((worker.snapshot().flag_count(), worker.problems().len()), (2, 0));
    }

    #[test]
    fn allowed_users_are_added_and_removed_also_of_a_flag_that_does_not_exist_yet() {
        let mut shop = shop();
        let worker = shop.worker();
        shop.allow(3, "7");
        let inserted = "INSERT INTO {allowed_users_table} VALUES (1, 7), (1, -8), (1, 7)";
        shop.run_and_load(&worker, inserted);
        assert!(allows(&worker, NAMED, &Subject::Integer(-8)));
        // One of two equal rows, and another user.
        shop.run(
            "DELETE FROM {allowed_users_table} WHERE ctid = (SELECT ctid FROM {allowed_users_table}
                WHERE flag_id = 1 AND \"user\" = 7 LIMIT 1)",
        );
        shop.run_and_load(&worker, "DELETE FROM {allowed_users_table} WHERE \"user\" = -8");
        let allowed = [-8, 7].map(|user| allows(&worker, NAMED, &Subject::Integer(user)));
        assert_eq!(allowed, [false, true]);
        shop.flag(3, "third", 0);
        shop.until_loaded(&worker);
        assert!(allows(&worker, "third", &Subject::Integer(7)));
    }

    #[test]
    fn allowed_users_with_text_keys_are_added_and_removed() {
        let mut shop = Shop::with_text_users();
        shop.flag(1, NAMED, 0);
        let worker = shop.worker();
        for user in ["'alice'", "'42'", "'größe'", "''", "NULL"] {
            shop.allow(1, user);
            shop.until_loaded(&worker);
        }
        for user in ["alice", "42", "größe", ""] {
            assert!(allows(&worker, NAMED, &Subject::Text(user)), "{user:?}");
        }
        shop.run_and_load(&worker, "DELETE FROM {allowed_users_table} WHERE \"user\" = 'alice'");
        assert!(!allows(&worker, NAMED, &Subject::Text("alice")));
        assert!(allows(&worker, NAMED, &Subject::Integer(42)));
    }

    #[test]
    fn late_commit_is_read_by_rows() {
        let mut shop = shop();
        let worker = shop.worker();
        let mut slow = shop.other_session();
        slow.run("BEGIN; INSERT INTO {flag_table} VALUES (3, 'slow', true, 1)");
        miss_a_change(&mut shop, &worker);
        slow.run("COMMIT");
        eventually(|| worker.percent("slow") == Some(1));
        assert!(misses_the_change(&worker));
    }

    #[test]
    fn tokens_that_were_pruned_are_no_change() {
        let mut shop = shop();
        // The second token from here on prunes those of both flags.
        shop.run("ALTER TABLE {token_table} ALTER id RESTART WITH 1087");
        let worker = shop.worker();
        miss_a_change(&mut shop, &worker);
        shop.value("gateway", "1");
        shop.until_loaded(&worker);
        assert!(value_of(&worker, "gateway").is_some());
        let count = shop.filled("SELECT count(*) FROM {token_table} WHERE id < 1000");
        assert_eq!(shop.session.query_one(&count, &[]).expect("a count").get::<_, i64>(0), 0);
        assert!(misses_the_change(&worker));
    }

    #[test]
    fn change_that_no_token_has_named_is_a_problem_after_a_load_of_all_tables() {
        let mut shop = shop();
        let worker = shop.worker();
        miss_a_change(&mut shop, &worker);
        assert_eq!(worker.schema_problems(), [""; 0]);
        // A new connection loads everything.
        shop.terminate_connections();
        eventually(|| !misses_the_change(&worker));
        let expected = "a full load has found changes that no change token had named (1, \
            such as flag \"unnamed\"): run \"manage.py check --database\"";
        eventually(|| worker.schema_problems() == [expected]);
    }

    #[test]
    fn change_with_a_token_or_while_a_trigger_was_off_is_no_problem_after_such_a_load() {
        let off = "
            ALTER TABLE {flag_table} DISABLE TRIGGER flagstaff_token_update_v1;
            UPDATE {flag_table} SET {flag_rollout} = 33;
            ALTER TABLE {flag_table} ENABLE ALWAYS TRIGGER flagstaff_token_update_v1";
        for change in ["UPDATE {flag_table} SET {flag_rollout} = 33", off] {
            let mut shop = shop();
            let worker = shop.worker_without_notifications();
            shop.run(change);
            shop.terminate_connections();
            eventually(|| worker.percent(NAMED) == Some(33));
            eventually(|| worker.mode() == RefreshMode::Poll);
            assert_eq!(worker.schema_problems(), [""; 0], "{change}");
        }
    }

    #[test]
    fn refresh_loads_all_rows() {
        let mut shop = shop();
        let worker = shop.worker();
        miss_a_change(&mut shop, &worker);
        // Again, because a load of the worker that began after the call is as good.
        eventually(|| {
            worker.engine.refresh(PATIENCE, &mut || false).expect("a load");
            !misses_the_change(&worker)
        });
        // And rows are enough again after it.
        change_both(&mut shop, 60);
        assert!(reads_named_only(&worker, 60));
    }
}

mod tables {
    use super::*;

    /// Lets a worker miss a change, which it finds if this makes it read the whole table.
    #[track_caller]
    fn assert_reads_the_table(change: impl FnOnce(&mut Shop)) {
        let mut shop = shop();
        let worker = shop.worker();
        miss_a_change(&mut shop, &worker);
        change(&mut shop);
        shop.until_loaded(&worker);
        assert!(!misses_the_change(&worker));
        assert_eq!((worker.mode(), worker.engine.status().failures), (RefreshMode::Live, 0));
    }

    #[test]
    fn token_without_keys_reads_the_table() {
        assert_reads_the_table(|shop| {
            forge(shop, "UPDATE {flag_table} SET {flag_enabled} = true WHERE id = 1", "NULL");
        });
        assert_reads_the_table(|shop| {
            shop.run(
                "INSERT INTO {flag_table} SELECT number, 'flag ' || number, true, 0
                FROM generate_series(3, 67) AS number",
            );
        });
    }

    #[test]
    fn token_with_a_null_key_reads_the_table() {
        assert_reads_the_table(|shop| {
            let statement = "UPDATE {flag_table} SET {flag_enabled} = true WHERE id = 1";
            forge(shop, statement, "ARRAY['1', NULL]");
        });
    }

    #[test]
    fn more_tokens_than_a_load_looks_at_read_the_table() {
        assert_reads_the_table(|shop| {
            shop.run(
                "DO $$ BEGIN FOR number IN 1..257 LOOP
                    UPDATE {flag_table} SET {flag_enabled} = true WHERE id = 1;
                END LOOP; END $$",
            );
        });
    }

    #[test]
    fn tokens_that_were_deleted_and_not_recorded_read_the_table() {
        assert_reads_the_table(|shop| {
            shop.run(
                "DELETE FROM {token_table}
                WHERE id = (SELECT min(id) FROM {token_table} WHERE relation = 'f')",
            );
            shop.value("gateway", "1");
        });
    }

    #[test]
    fn tokens_with_texts_that_no_version_writes_read_the_table() {
        for removed in
            ["ARRAY[NULL]", "ARRAY['']", "ARRAY['f']", "ARRAY[ARRAY['f 0 0 0'], ARRAY['x']]"]
        {
            assert_reads_the_table(|shop| {
                shop.run(&format!(
                    "BEGIN; UPDATE {{flag_table}} SET {{flag_enabled}} = true WHERE id = 1;
                    UPDATE {{token_table}} SET removed = {removed}
                    WHERE id = (SELECT max(id) FROM {{token_table}}); COMMIT"
                ));
            });
        }
    }

    #[test]
    fn token_that_has_removed_one_of_a_new_transaction_reads_the_table() {
        let removing = |xact: &str| {
            format!(
                "BEGIN; UPDATE {{flag_table}} SET {{flag_enabled}} = true WHERE id = 1;
                UPDATE {{token_table}} SET removed = '{{}}', removed_xact = {xact}
                WHERE id = (SELECT max(id) FROM {{token_table}}); COMMIT"
            )
        };
        assert_reads_the_table(|shop| shop.run(&removing("pg_current_xact_id()")));
        let mut shop = shop();
        let worker = shop.worker();
        miss_a_change(&mut shop, &worker);
        shop.run_and_load(&worker, &removing("'3'"));
        assert!(misses_the_change(&worker));
    }

    #[test]
    fn row_that_cannot_be_used_reads_the_table_until_there_is_none() {
        let mut shop = shop();
        shop.flag(3, "third", 0);
        let worker = shop.worker();
        miss_a_change(&mut shop, &worker);
        let bad = "UPDATE {flag_table} SET {flag_enabled} = NULL WHERE id = 3";
        shop.run_and_load(&worker, bad);
        assert!(!misses_the_change(&worker) && worker.problems().len() == 1);
        change_both(&mut shop, 60);
        assert!(!reads_named_only(&worker, 60));
        let good = "UPDATE {flag_table} SET {flag_enabled} = true WHERE id = 3";
        shop.run_and_load(&worker, good);
        assert!(worker.problems().is_empty());
        change_both(&mut shop, 70);
        assert!(reads_named_only(&worker, 70));
    }

    #[test]
    fn key_that_two_rows_have_reads_the_table() {
        assert_reads_the_table(|shop| shop.flag(3, NAMED, 0));
    }
}

mod catalog {
    use super::*;

    /// Tokens that name rows are used, but not for the first load after this change.
    #[track_caller]
    fn assert_reads_all_tables_once_after(change: &str) {
        let mut shop = shop();
        let worker = shop.worker();
        miss_a_change(&mut shop, &worker);
        // In one transaction, because a notification of another shop makes the worker load, too.
        let both = format!("{change}; UPDATE {{flag_table}} SET {{flag_rollout}} = 60");
        forge(&mut shop, &both, "ARRAY['1']");
        assert!(!reads_named_only(&worker, 60), "{change}");
        // A load of everything may follow, if the server has changed.
        let named_only = [70, 80].map(|percent| {
            change_both(&mut shop, percent);
            reads_named_only(&worker, percent)
        });
        assert!(named_only[1], "{change}");
        assert_eq!((worker.mode(), worker.engine.status().failures), (RefreshMode::Live, 0));
    }

    #[test]
    fn altered_table_is_read_whole_once() {
        for change in [
            "ALTER TABLE {flag_table} ADD COLUMN note text",
            "ALTER TABLE {flag_table} ALTER COLUMN {flag_rollout} TYPE bigint",
            "ALTER TABLE {flag_table} ALTER COLUMN id TYPE integer",
            "ALTER TABLE {allowed_users_table} ADD COLUMN note text",
        ] {
            assert_reads_all_tables_once_after(change);
        }
    }

    #[test]
    fn altered_trigger_or_function_reads_all_tables_once() {
        let off_and_on = "
            ALTER TABLE {flag_table} DISABLE TRIGGER flagstaff_token_update_v1;
            ALTER TABLE {flag_table} ENABLE ALWAYS TRIGGER flagstaff_token_update_v1";
        assert_reads_all_tables_once_after(off_and_on);
        for function in ["flagstaff_token_v1()", "flagstaff_write_token_v1(\"char\", text[])"] {
            let owned = format!("ALTER FUNCTION {{schema}}.{function} COST 99");
            assert_reads_all_tables_once_after(&owned);
        }
    }

    #[test]
    fn triggers_that_only_a_refresh_has_seen_are_not_trusted() {
        let mut shop = shop();
        let worker = shop.worker();
        give_column(&mut shop, "Key");
        worker.engine.refresh(PATIENCE, &mut || false).expect("a load");
        change_both(&mut shop, 50);
        assert!(!reads_named_only(&worker, 50));
    }

    #[test]
    fn write_while_a_trigger_was_off_is_found_by_the_next_load_of_any_table() {
        let mut shop = shop();
        let worker = shop.worker();
        shop.run(
            "ALTER TABLE {flag_table} DISABLE TRIGGER flagstaff_token_update_v1;
            UPDATE {flag_table} SET {flag_rollout} = 33;
            ALTER TABLE {flag_table} ENABLE ALWAYS TRIGGER flagstaff_token_update_v1",
        );
        shop.value("gateway", "1");
        shop.until_loaded(&worker);
        assert!(value_of(&worker, "gateway").is_some());
        assert_eq!((worker.percent(NAMED), worker.percent(UNNAMED)), (Some(33), Some(33)));
    }

    /// Asserts that a worker reads whole tables, also again, and stays live.
    #[track_caller]
    fn assert_never_by_rows(shop: &mut Shop) {
        let worker = shop.worker();
        for percent in [50, 60] {
            change_both(shop, percent);
            assert!(!reads_named_only(&worker, percent));
        }
        assert_eq!((worker.mode(), worker.engine.status().failures), (RefreshMode::Live, 0));
    }

    /// Lets the token triggers of the flags give the values of this column.
    fn give_column(shop: &mut Shop, column: &str) {
        for (event, tables) in [
            ("insert", "NEW TABLE AS new_rows"),
            ("update", "OLD TABLE AS old_rows NEW TABLE AS new_rows"),
            ("delete", "OLD TABLE AS old_rows"),
        ] {
            shop.run(&format!(
                "CREATE OR REPLACE TRIGGER flagstaff_token_{event}_v1
                AFTER {event} ON {{flag_table}} REFERENCING {tables} FOR EACH STATEMENT
                EXECUTE FUNCTION {{schema}}.flagstaff_token_v1('f', '{column}');
                ALTER TABLE {{flag_table}} ENABLE ALWAYS TRIGGER flagstaff_token_{event}_v1"
            ));
        }
    }

    #[test]
    fn trigger_with_another_column_reads_whole_tables() {
        let mut shop = shop();
        give_column(&mut shop, "Key");
        assert_never_by_rows(&mut shop);
    }

    #[test]
    fn trigger_that_gets_another_column_reads_whole_tables_from_then_on() {
        let mut shop = shop();
        let worker = shop.worker();
        miss_a_change(&mut shop, &worker);
        give_column(&mut shop, "Key");
        for percent in [60, 70, 80] {
            change_both(&mut shop, percent);
            assert!(!reads_named_only(&worker, percent));
        }
    }

    #[test]
    fn table_that_another_one_inherits_from_is_read_whole() {
        let mut shop = shop();
        shop.run("CREATE TABLE {schema}.heir () INHERITS ({flag_table})");
        shop.trigger("{schema}.heir", 'f');
        assert_never_by_rows(&mut shop);
    }

    #[test]
    fn primary_key_with_another_type_than_the_names_say_reads_whole_tables() {
        let mut shop = shop();
        // The names say int8, so no text of a key is one, or it cannot be compared.
        shop.run("ALTER TABLE {flag_table} ALTER COLUMN id TYPE text");
        assert_never_by_rows(&mut shop);
        shop.run("INSERT INTO {flag_table} VALUES ('third', 'third', true, 0)");
        let worker = shop.worker();
        let changed = "UPDATE {flag_table} SET {flag_rollout} = 30 WHERE id = 'third'";
        shop.run_and_load(&worker, changed);
        assert_eq!(worker.percent("third"), Some(30));
        assert_eq!((worker.mode(), worker.engine.status().failures), (RefreshMode::Live, 0));
    }

    #[test]
    fn names_without_the_type_of_the_primary_key_read_whole_tables() {
        let mut shop = shop();
        shop.names.remove("flag_pk_type");
        assert_never_by_rows(&mut shop);
        // Pairs contain the primary key of the flag.
        let worker = shop.worker();
        shop.allow(1, "7");
        shop.until_loaded(&worker);
        assert!(allows(&worker, NAMED, &Subject::Integer(7)));
        shop.run_and_load(&worker, "DELETE FROM {allowed_users_table}");
        assert!(!allows(&worker, NAMED, &Subject::Integer(7)));
    }

    #[test]
    fn worker_recovers_after_the_token_table_was_replaced() {
        let mut shop = shop();
        let worker = shop.worker();
        miss_a_change(&mut shop, &worker);
        shop.run("DROP TABLE {token_table}");
        shop.run(TOKENS);
        shop.set_rollout(NAMED, 60);
        eventually(|| worker.percent(NAMED) == Some(60) && !misses_the_change(&worker));
        eventually(|| worker.mode() == RefreshMode::Live);
        let named_only = [70, 80].map(|percent| {
            change_both(&mut shop, percent);
            reads_named_only(&worker, percent)
        });
        assert!(named_only[1]);
    }

    #[test]
    fn session_that_polls_reads_rows_too() {
        let mut shop = shop();
        let poll_interval = Duration::from_millis(50);
        let worker = Worker::loaded(&Options { listen: false, poll_interval, ..shop.options() });
        miss_a_change(&mut shop, &worker);
        assert_eq!(worker.mode(), RefreshMode::Poll);
    }
}
