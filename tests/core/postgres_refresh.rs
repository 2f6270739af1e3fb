//! A refresh loads now, or fails in time with the kind of its cause.

use std::error::Error as _;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use flagstaff::postgres::connect::parameters::Parameters;
use flagstaff::postgres::engine::Options;
use flagstaff::postgres::error::{Error, ErrorKind};

use crate::postgres_fake_servers::{
    refusing, rejecting, rejecting_while, requesting, silent, unreachable,
};
use crate::postgres_shop::{AT_ONCE, PATIENCE, Shop, TRIES, Worker, eventually};

/// A refresh connects again until then. Also on a busy machine, the first try ends long before.
const CONNECTS: Duration = Duration::from_secs(2);

#[track_caller]
fn failure(parameters: Parameters, limit: Duration) -> Error {
    let shop = Shop::empty("int8");
    let worker = Worker::start(&Options { parameters, ..shop.options() });
    let begun = Instant::now();
    let error = worker.engine.refresh(limit, &mut || false).expect_err("there is nothing to load");
    let late = begun.elapsed().saturating_sub(limit);
    assert!(late < AT_ONCE, "{late:?} past the limit");
    error
}

/// At once, because the try that is cut off at the limit must not hide the cause.
fn ten_times(test: impl Fn() + Sync) {
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(&test);
        }
    });
}

#[test]
fn refresh_loads_what_was_committed_before_also_beside_concurrent_loads() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 0);
    for (worker, wakes) in [(shop.worker_without_notifications(), false), (shop.worker(), true)] {
        for percent in 1..=50 {
            shop.set_rollout("new_checkout", percent);
            if wakes {
                worker.engine.wake();
            }
            worker.engine.refresh(PATIENCE, &mut || false).expect("a load");
            assert_eq!(worker.percent("new_checkout"), Some(percent));
        }
    }
}

#[test]
fn concurrent_refreshes_share_the_connection_of_the_engine() {
    let mut shop = Shop::open();
    let worker = shop.worker_without_notifications();
    shop.flag(1, "new_checkout", 10);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| worker.engine.refresh(PATIENCE, &mut || false).expect("a load"));
        }
    });
    assert_eq!((worker.percent("new_checkout"), shop.connections()), (Some(10), 1));
}

#[test]
fn refresh_with_a_malformed_row_succeeds() {
    let mut shop = Shop::open();
    let worker = shop.worker_without_notifications();
    shop.run("INSERT INTO {flag_table} VALUES (1, 'new_checkout', NULL, 10)");
    worker.engine.refresh(PATIENCE, &mut || false).expect("a load");
    let expected = ["flag \"new_checkout\" is set aside: its enabled is NULL"];
    assert_eq!(worker.problems(), expected);
}

#[test]
fn refused_connection_is_a_connect_error() {
    ten_times(|| {
        let error = failure(unreachable(), CONNECTS);
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
        let expected = "connect: the server cannot be reached (connection refused)";
        assert_eq!(error.to_string(), expected);
        assert!(error.source().is_some());
    });
}

#[test]
fn wrong_password_is_an_auth_error() {
    ten_times(|| {
        let error = failure(rejecting(), CONNECTS);
        assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Auth, Some("28P01")), "{error}");
        assert!(error.to_string().ends_with("pg_hba.conf (SQLSTATE 28P01)"), "{error}");
    });
}

/// What a server does, the kind of the error, and a part of its text.
///
/// `tests/faults/connection/test_logins.py` has what a real server refuses.
#[test]
fn refused_log_in_is_reported_with_its_cause() {
    let oauth = b"OAUTHBEARER\0\0";
    let cases = [
        (requesting(7, b""), ErrorKind::Auth, "method that the engine does not support"),
        (requesting(9, b""), ErrorKind::Auth, "method that the engine does not support"),
        (requesting(10, oauth), ErrorKind::Auth, "method that the engine does not support"),
        (refusing("28000", "auth_failed"), ErrorKind::Auth, "LDAP, PAM or cert"),
        // Poolers name no function.
        (refusing("28000", ""), ErrorKind::Auth, "LDAP, PAM or cert"),
        (refusing("53300", "InitProcess"), ErrorKind::TooMany, "see its max_connections"),
        (refusing("53300", "InitPostgres"), ErrorKind::TooMany, "see its max_connections"),
        (refusing("57P03", "BackendInitialize"), ErrorKind::Connect, "hot_standby off"),
        (refusing("08P01", ""), ErrorKind::Query, "refused the connection, see OPTIONS"),
        (refusing("42501", "set_config_option"), ErrorKind::Permission, "see OPTIONS"),
    ];
    thread::scope(|scope| {
        for (parameters, kind, part) in cases {
            scope.spawn(move || {
                let error = failure(parameters, CONNECTS);
                assert_eq!(error.kind(), kind, "{error}");
                let texts = format!("{error} {error:?}");
                assert!(texts.contains(part), "{texts}");
                for secret in ["hunter2", "shop", "open sesame", "127.0.0.1"] {
                    assert!(!texts.contains(secret), "{texts}");
                }
            });
        }
    });
}

#[test]
fn silent_server_costs_at_most_the_limit() {
    let error = failure(silent(), Duration::from_millis(200));
    assert_eq!(error.kind(), ErrorKind::Deadline, "{error}");
    assert!(error.to_string().ends_with(": the server did not answer in time"), "{error}");
}

#[test]
fn refresh_during_a_failing_attempt_is_answered_by_another_at_once() {
    let shop = Shop::open();
    let (attempting, attempted) = channel();
    let (rejecting, rejected) = channel();
    let rejected = Mutex::new(rejected);
    let parameters = rejecting_while(shop.options().parameters, move || {
        let _ = attempting.send(());
        rejected.lock().expect("no panic").recv().is_ok()
    });
    let worker = Worker::start(&Options { parameters, ..shop.options() });
    // Afterwards the pause before the next attempt is half a minute or longer.
    attempted.recv().expect("an attempt");
    for _ in 0..8 {
        rejecting.send(()).expect("a server");
        eventually(|| {
            worker.engine.wake();
            attempted.try_recv().is_ok()
        });
    }
    // The attempt fails after the call, and the next one succeeds.
    let mut reject = Some(rejecting);
    let mut fail = || reject.take().is_some_and(|reject| reject.send(()).is_err());
    worker.engine.refresh(TRIES, &mut fail).expect("a load");
}

#[test]
fn locked_table_is_a_locked_error_and_keeps_the_snapshot() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 10);
    let worker = shop.worker_without_notifications();
    let before = worker.snapshot();
    shop.set_rollout("new_checkout", 20);
    let mut migration = shop.other_session();
    migration.run("BEGIN; LOCK TABLE {flag_table} IN ACCESS EXCLUSIVE MODE");
    let error = worker.engine.refresh(TRIES, &mut || false).expect_err("a lock is in the way");
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Locked, Some("55P03")));
    assert!(Arc::ptr_eq(&worker.snapshot(), &before));
    migration.run("COMMIT");
    worker.engine.refresh(PATIENCE, &mut || false).expect("a load");
    assert_eq!(worker.percent("new_checkout"), Some(20));
}

#[test]
fn role_without_select_is_a_permission_error() {
    let mut shop = Shop::open();
    let role = format!("\"reader of {}\"", shop.application);
    shop.run(&format!("CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {{schema}} TO {role}"));
    let mut options = shop.options();
    let user = role.trim_matches('"').to_owned();
    options.parameters.insert("user".into(), user);
    let worker = Worker::start(&options);
    let error = worker.engine.refresh(TRIES, &mut || false).expect_err("it may not read");
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Permission, Some("42501")));
    drop(worker);
    shop.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
