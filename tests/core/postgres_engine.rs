//! A worker stays up to date through changes of its tables and faults of its connection.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use flagstaff::postgres::engine::Options;
use flagstaff::postgres::error::ErrorKind;
use flagstaff::postgres::status::RefreshMode;
use flagstaff::snapshot::Stored;
use flagstaff::stored_value::StoredValue;
use flagstaff::subject::Subject;

use crate::postgres_fake_servers::{delayed, silent, slow_line, stalling, unreachable};
use crate::postgres_shop::{AT_ONCE, PATIENCE, Shop, Worker, eventually};

fn names(worker: &Worker, key: &str, subject: &Subject<'_>) -> bool {
    let snapshot = worker.snapshot();
    snapshot.flag(key).is_some_and(|flag| flag.allowed_users.contains(subject))
}

#[test]
fn first_load_reads_all_tables() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 25);
    shop.flag(2, "größe.🛒", 0);
    for user in [i64::MIN, -1, 0, 1 << 40, i64::MAX] {
        shop.allow(2, &user.to_string());
    }
    shop.value("gateway", r#""stripe""#);
    shop.value("big", "123456789012345678901234567890");
    let worker = shop.worker();
    let snapshot = worker.snapshot();
    assert_eq!((snapshot.flag_count(), snapshot.value_count()), (2, 2));
    assert_eq!(
        snapshot.value("gateway").map(Stored::value),
        Some(&StoredValue::Text("stripe".into()))
    );
    let big = StoredValue::Json("123456789012345678901234567890".into());
    assert_eq!(snapshot.value("big").map(Stored::value), Some(&big));
    for user in [i64::MIN, -1, 0, 1 << 40, i64::MAX] {
        assert!(names(&worker, "größe.🛒", &Subject::Integer(user)), "{user}");
    }
    assert!(!names(&worker, "größe.🛒", &Subject::Integer(1)));
    assert_eq!(worker.mode(), RefreshMode::Live);
}

#[test]
fn notification_triggers_a_load_before_the_poll() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 0);
    let worker = shop.worker();
    for percent in [10, 20, 30] {
        shop.set_rollout("new_checkout", percent);
        eventually(|| worker.percent("new_checkout") == Some(percent));
    }
}

#[test]
fn storm_of_changes_ends_with_the_last_one() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 0);
    let worker = shop.worker();
    for percent in 1..=100 {
        shop.set_rollout("new_checkout", percent);
    }
    eventually(|| worker.percent("new_checkout") == Some(100));
    assert!(worker.engine.status().loads < 80, "a storm costs a load per gap");
}

#[test]
fn poll_without_notifications_loads_a_change() {
    let mut shop = Shop::open();
    let poll_interval = Duration::from_millis(50);
    let worker = Worker::loaded(&Options { listen: false, poll_interval, ..shop.options() });
    assert_eq!(worker.mode(), RefreshMode::Poll);
    shop.flag(1, "new_checkout", 10);
    eventually(|| worker.percent("new_checkout") == Some(10));
}

#[test]
fn poll_without_a_change_keeps_the_snapshot_and_resets_its_age() {
    let shop = Shop::open();
    let poll_interval = Duration::from_millis(20);
    let worker = Worker::loaded(&Options { listen: false, poll_interval, ..shop.options() });
    let (snapshot, swaps) = (worker.snapshot(), worker.live.swaps());
    sleep(Duration::from_millis(300));
    eventually(|| worker.live.age().is_some_and(|age| age < Duration::from_millis(100)));
    assert!(Arc::ptr_eq(&worker.snapshot(), &snapshot));
    assert_eq!(worker.live.swaps(), swaps);
}

#[test]
fn poll_without_triggers_loads_everything() {
    let mut shop = Shop::without_triggers("bigint");
    let poll_interval = Duration::from_millis(50);
    let worker = Worker::loaded(&Options { poll_interval, ..shop.options() });
    assert_eq!((worker.mode(), worker.snapshot().token_set()), (RefreshMode::Reload, None));
    shop.flag(1, "new_checkout", 10);
    shop.allow(1, "7");
    eventually(|| worker.percent("new_checkout") == Some(10));
    eventually(|| names(&worker, "new_checkout", &Subject::Integer(7)));
}

#[test]
fn wake_up_without_notifications_loads_a_change() {
    let mut shop = Shop::open();
    let worker = shop.worker_without_notifications();
    shop.flag(1, "new_checkout", 10);
    worker.engine.wake();
    eventually(|| worker.percent("new_checkout") == Some(10));
}

#[test]
fn change_of_a_flag_or_a_value_shares_the_other_tables() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 0);
    shop.allow(1, "7");
    shop.value("gateway", r#""stripe""#);
    let worker = shop.worker();
    let before = worker.snapshot();
    shop.set_rollout("new_checkout", 10);
    eventually(|| worker.percent("new_checkout") == Some(10));
    let after = worker.snapshot();
    let allowed = [&before, &after].map(|snapshot| {
        Arc::as_ptr(&snapshot.flag("new_checkout").expect("the flag").allowed_users)
    });
    assert!(std::ptr::eq(allowed[0], allowed[1]));
    let values = [&before, &after].map(|snapshot| snapshot.value("gateway").expect("it"));
    assert!(std::ptr::eq(values[0], values[1]));
    shop.value("gateway", r#""paypal""#);
    eventually(|| {
        worker.snapshot().value("gateway").map(Stored::value)
            != after.value("gateway").map(Stored::value)
    });
    let last = worker.snapshot();
    let flags = [&after, &last].map(|snapshot| snapshot.flag("new_checkout").expect("the flag"));
    assert!(std::ptr::eq(flags[0], flags[1]));
}

#[test]
fn change_of_allowed_users_is_loaded() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 0);
    let worker = shop.worker();
    shop.allow(1, "7");
    eventually(|| names(&worker, "new_checkout", &Subject::Integer(7)));
    shop.run("DELETE FROM {allowed_users_table}");
    eventually(|| !names(&worker, "new_checkout", &Subject::Integer(7)));
}

#[test]
fn text_keys_are_allowed_users() {
    let mut shop = Shop::with_text_users();
    shop.flag(1, "new_checkout", 0);
    for user in ["'alice'", "'42'", "''", "NULL", "'🦀'"] {
        shop.allow(1, user);
    }
    let worker = shop.worker();
    for user in
        [Subject::Text("alice"), Subject::Integer(42), Subject::Text(""), Subject::Text("🦀")]
    {
        assert!(names(&worker, "new_checkout", &user), "{user:?}");
    }
    assert!(!names(&worker, "new_checkout", &Subject::Text("042")));
}

#[test]
fn commits_out_of_order_are_both_loaded() {
    let shop = Shop::open();
    let worker = shop.worker();
    let (mut slow, mut quick) = (shop.other_session(), shop.other_session());
    slow.run("BEGIN; INSERT INTO {flag_table} VALUES (1, 'slow', true, 1)");
    quick.run("INSERT INTO {flag_table} VALUES (2, 'quick', true, 2)");
    eventually(|| worker.percent("quick") == Some(2));
    assert_eq!(worker.percent("slow"), None);
    slow.run("COMMIT");
    eventually(|| worker.percent("slow") == Some(1));
}

#[test]
fn truncate_and_insert_in_one_transaction_never_shows_an_empty_table() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 0);
    let worker = shop.worker();
    for percent in 1..=30 {
        shop.run(&format!(
            "BEGIN; TRUNCATE {{flag_table}};
            INSERT INTO {{flag_table}} VALUES (1, 'new_checkout', true, {percent}); COMMIT"
        ));
        while worker.percent("new_checkout") != Some(percent) {
            assert!(worker.percent("new_checkout").is_some(), "the flag was absent");
        }
    }
}

#[test]
fn rollout_beyond_its_range_is_clamped() {
    let mut shop = Shop::open();
    let given = [
        ("101", 100),
        ("-5", -1),
        ("0.5", 1),
        ("99.5", 100),
        ("-0.5", 0),
        ("1e12", 100),
        ("-1e12", -1),
        ("33.0", 33),
        ("'Infinity'", 100),
        ("'-Infinity'", -1),
    ];
    for (pk, (percent, _)) in given.iter().enumerate() {
        shop.run(&format!(
            "INSERT INTO {{flag_table}} VALUES ({pk}, 'flag {pk}', true, {percent})"
        ));
    }
    let worker = shop.worker();
    for (pk, (percent, expected)) in given.iter().enumerate() {
        assert_eq!(worker.percent(&format!("flag {pk}")), Some(*expected), "{percent}");
    }
}

#[test]
fn rows_with_nulls_are_skipped_alone() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 10);
    shop.flag(2, "banner", 20);
    let worker = shop.worker();
    shop.run(
        "UPDATE {flag_table} SET {flag_enabled} = NULL, {flag_rollout} = 99 WHERE id = 1;
        UPDATE {flag_table} SET {flag_rollout} = 30 WHERE id = 2;
        INSERT INTO {flag_table} VALUES (3, NULL, true, 0);
        INSERT INTO {value_table} ({value_key}) VALUES ('nothing')",
    );
    eventually(|| worker.percent("banner") == Some(30));
    eventually(|| {
        worker.snapshot().value("nothing").map(Stored::value) == Some(&StoredValue::Null)
    });
    let mut problems = worker.problems();
    problems.sort();
    let expected = [
        "flag \"new_checkout\" is set aside: its enabled is NULL",
        "flag \"pk 3\" is set aside: its key is NULL",
    ];
    assert_eq!(problems, expected);
    assert_eq!((worker.percent("new_checkout"), worker.snapshot().flag_count()), (Some(10), 2));
}

#[test]
fn locked_table_delays_only_the_change() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 10);
    let worker = shop.worker();
    let mut migration = shop.other_session();
    migration.run("BEGIN; LOCK TABLE {flag_table} IN ACCESS EXCLUSIVE MODE");
    shop.value("gateway", r#""paypal""#);
    eventually(|| worker.engine.status().failures > 0);
    let report = worker.engine.status();
    assert_eq!(report.last_error.map(|error| error.kind()), Some(ErrorKind::Locked));
    assert_eq!((worker.percent("new_checkout"), report.mode), (Some(10), RefreshMode::Live));
    migration.run("COMMIT");
    eventually(|| worker.snapshot().value("gateway").is_some());
}

#[test]
fn load_does_not_block_a_migration() {
    let mut shop = Shop::open();
    let worker = shop.worker();
    let (mut reader, mut migration) = (shop.other_session(), shop.other_session());
    // A reader holds the table, so the migration waits, and a load waits behind the migration.
    reader.run("BEGIN; LOCK TABLE {flag_table} IN ACCESS SHARE MODE");
    let altering = std::thread::spawn(move || {
        migration.run("ALTER TABLE {flag_table} ADD COLUMN more text");
    });
    sleep(Duration::from_millis(50));
    shop.value("gateway", "1");
    eventually(|| worker.engine.status().failures > 0);
    reader.run("COMMIT");
    altering.join().expect("the migration succeeds");
    eventually(|| worker.snapshot().value("gateway").is_some());
}

#[test]
fn first_load_with_a_locked_table_is_retried() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 10);
    let mut migration = shop.other_session();
    migration.run("BEGIN; LOCK TABLE {flag_table} IN ACCESS EXCLUSIVE MODE");
    let worker = Worker::start(&shop.options());
    eventually(|| worker.engine.status().failures > 0);
    assert!(worker.live.snapshot().is_none());
    migration.run("COMMIT");
    eventually(|| worker.percent("new_checkout") == Some(10));
}

#[test]
fn lost_connection_keeps_the_snapshot_and_reconnects() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 10);
    let worker = shop.worker();
    shop.terminate_connections();
    eventually(|| worker.engine.status().failures > 0);
    assert_eq!(worker.percent("new_checkout"), Some(10));
    shop.set_rollout("new_checkout", 20);
    eventually(|| worker.percent("new_checkout") == Some(20));
    eventually(|| worker.mode() == RefreshMode::Live);
    assert_eq!(worker.engine.status().last_error.map(|error| error.kind()), Some(ErrorKind::Lost));
}

#[test]
fn missing_tables_are_an_error_until_they_exist() {
    let mut shop = Shop::empty("int8");
    let worker = Worker::start(&shop.options());
    eventually(|| worker.mode() == RefreshMode::Down);
    let error = worker.engine.status().last_error.expect("it has failed");
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Missing, Some("42P01")));
    let expected = "load: a table or column is missing, run \"manage.py migrate\" (SQLSTATE 42P01)";
    assert_eq!(error.to_string(), expected);
    shop.run(
        "CREATE TABLE {flag_table} ({flag_pk} int, {flag_key} text, {flag_enabled} boolean,
        {flag_rollout} int, {flag_rules} jsonb); CREATE TABLE {segment_table} ({segment_pk} bigint,
        {segment_key} text, {segment_conditions} jsonb); CREATE TABLE {allowed_users_table} ({allowed_users_flag} int, {allowed_users_user} int);
        CREATE TABLE {value_table} ({value_pk} int, {value_key} text, {value_value} json)",
    );
    worker.engine.wake();
    eventually(|| worker.mode() == RefreshMode::Reload);
}

#[test]
fn stopped_worker_closes_its_connection() {
    let mut shop = Shop::open();
    let worker = shop.worker();
    assert_eq!(shop.connections(), 1);
    let begun = Instant::now();
    assert!(worker.engine.stop(PATIENCE, &mut || false));
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    shop.until_connections(0);
}

#[test]
fn worker_without_a_connection_stops_at_once() {
    for parameters in [unreachable(), silent()] {
        let worker = Worker::start(&Options { parameters, ..Shop::empty("int8").options() });
        sleep(Duration::from_millis(50));
        let begun = Instant::now();
        assert!(worker.engine.stop(PATIENCE, &mut || false));
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    }
}

/// A successor with other tables may publish already.
#[test]
fn stopped_worker_publishes_nothing() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 10);
    let (parameters, release) = delayed(shop.options().parameters);
    let worker = Worker::start(&Options { parameters, ..shop.options() });
    sleep(Duration::from_millis(50));
    worker.engine.stop(Duration::ZERO, &mut || false);
    drop(release);
    assert!(worker.engine.stop(PATIENCE, &mut || false));
    assert!(worker.live.snapshot().is_none());
}

/// Longer than the pauses of the line, and shorter than its load.
const SILENCE: Duration = Duration::from_secs(1);
/// 300 KB take 3 s.
const TIME: Duration = Duration::from_millis(40);

#[test]
fn load_over_a_slow_line_goes_on_as_long_as_bytes_arrive() {
    let mut shop = Shop::open();
    let text = "x".repeat(300_000);
    shop.value("large", &format!("\"{text}\""));
    let parameters = slow_line(shop.options().parameters, TIME);
    let begun = Instant::now();
    let worker = Worker::loaded(&Options { parameters, load_timeout: SILENCE, ..shop.options() });
    assert!(begun.elapsed() > 2 * SILENCE, "the line is not slow");
    assert_eq!(
        worker.snapshot().value("large").map(Stored::value),
        Some(&StoredValue::Text(text.into()))
    );
    assert_eq!(worker.engine.status().failures, 0);
}

#[test]
fn load_from_a_server_that_stalls_is_given_up() {
    let mut shop = Shop::open();
    shop.value("large", &format!("\"{}\"", "x".repeat(300_000)));
    let parameters = stalling(shop.options().parameters, 100_000);
    let worker = Worker::start(&Options { parameters, load_timeout: SILENCE, ..shop.options() });
    eventually(|| worker.mode() == RefreshMode::Down);
    let error = worker.engine.status().last_error.expect("the cause");
    assert_eq!(error.to_string(), "load: the server did not answer in time");
}

#[test]
fn load_that_was_given_up_ends_on_the_server_too() {
    let mut shop = Shop::open();
    shop.run(
        "ALTER TABLE {value_table} RENAME TO stored;
        CREATE VIEW {value_table} AS SELECT stored.* FROM {schema}.stored, pg_sleep(60)",
    );
    let worker = Worker::start(&Options { load_timeout: SILENCE, ..shop.options() });
    eventually(|| worker.mode() == RefreshMode::Down);
    drop(worker);
    shop.until_connections(0);
}
