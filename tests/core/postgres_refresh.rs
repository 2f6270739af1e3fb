//! A refresh loads now, or says in time and by its cause why it could not.

use std::error::Error as _;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use flagstaff::postgres::connect::parameters::Parameters;
use flagstaff::postgres::engine::Options;
use flagstaff::postgres::error::{Error, ErrorKind};

use crate::postgres_fake_servers::{bouncer, nobody, silence};
use crate::postgres_shop::{Shop, Worker};

const PATIENCE: Duration = Duration::from_secs(5);

#[track_caller]
fn failure(parameters: Parameters, limit: Duration) -> Error {
    let shop = Shop::empty("int8");
    let worker = Worker::start(&Options { parameters, ..shop.options() });
    let begun = Instant::now();
    let error = worker.engine.refresh(limit).expect_err("there is nothing to load");
    let late = begun.elapsed().saturating_sub(limit);
    assert!(late < Duration::from_millis(500), "{late:?} past the limit");
    error
}

#[test]
fn what_was_committed_before_is_there_afterwards() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 0);
    let worker = shop.deaf_worker();
    for percent in 1..=50 {
        shop.ramp("new_checkout", percent);
        worker.engine.refresh(PATIENCE).expect("a load");
        assert_eq!(worker.percent("new_checkout"), Some(percent));
    }
}

#[test]
fn it_holds_beside_a_link_that_loads_all_the_time() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 0);
    let worker = shop.worker();
    for percent in 1..=50 {
        shop.ramp("new_checkout", percent);
        worker.engine.wake();
        worker.engine.refresh(PATIENCE).expect("a load");
        assert_eq!(worker.percent("new_checkout"), Some(percent));
    }
}

#[test]
fn many_at_once_share_a_pool_of_one() {
    let mut shop = Shop::open();
    let worker = Worker::loaded(&Options { listen: false, pool_size: 1, ..shop.options() });
    shop.flag(1, "new_checkout", 10);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| worker.engine.refresh(PATIENCE).expect("a load"));
        }
    });
    assert_eq!(worker.percent("new_checkout"), Some(10));
}

#[test]
fn it_keeps_no_connection() {
    let mut shop = Shop::open();
    let worker = shop.deaf_worker();
    worker.engine.refresh(PATIENCE).expect("a load");
    let deadline = Instant::now() + PATIENCE;
    while shop.connections() > 1 {
        assert!(Instant::now() < deadline, "the pool's connection is still there");
    }
}

#[test]
fn a_row_that_is_set_aside_fails_no_refresh() {
    let mut shop = Shop::open();
    let worker = shop.deaf_worker();
    shop.run("INSERT INTO {flag_table} VALUES (1, 'new_checkout', NULL, 10)");
    worker.engine.refresh(PATIENCE).expect("a load");
    let expected = ["flag \"new_checkout\" is set aside: its enabled is NULL"];
    assert_eq!(worker.problems(), expected);
}

#[test]
fn a_refused_connection_is_called_so() {
    for _ in 0..10 {
        let error = failure(nobody(), Duration::from_millis(100));
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
        let expected = "connect: the server cannot be reached (connection refused)";
        assert_eq!(error.to_string(), expected);
        assert!(error.source().is_some());
    }
}

#[test]
fn a_wrong_password_is_called_so() {
    for _ in 0..10 {
        let error = failure(bouncer(), Duration::from_millis(100));
        assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Auth, Some("28P01")), "{error}");
        let expected = "connect: the log-in was refused, see USER and PASSWORD in DATABASES \
            (SQLSTATE 28P01)";
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_database_that_is_not_there_is_called_so() {
    let mut parameters = crate::postgres_shop::parameters();
    parameters.insert("dbname".into(), "no such database".into());
    let error = failure(parameters, Duration::from_millis(500));
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Database, Some("3D000")));
}

#[test]
fn a_server_that_says_nothing_costs_no_more_than_the_limit() {
    let error = failure(silence(), Duration::from_millis(200));
    assert_eq!(error.kind(), ErrorKind::Deadline, "{error}");
    assert!(error.to_string().ends_with(": the server did not answer in time"), "{error}");
}

#[test]
fn tables_that_are_missing_are_called_so() {
    let error = failure(crate::postgres_shop::parameters(), PATIENCE);
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Missing, Some("42P01")));
}

#[test]
fn a_lock_in_the_way_is_called_so_and_the_answers_stay() {
    let mut shop = Shop::open();
    shop.flag(1, "new_checkout", 10);
    let worker = shop.deaf_worker();
    let before = worker.snapshot();
    shop.ramp("new_checkout", 20);
    let mut migration = shop.other_session();
    migration.run("BEGIN; LOCK TABLE {flag_table} IN ACCESS EXCLUSIVE MODE");
    let error = worker.engine.refresh(PATIENCE).expect_err("a lock is in the way");
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Locked, Some("55P03")));
    assert!(Arc::ptr_eq(&worker.snapshot(), &before));
    migration.run("COMMIT");
    worker.engine.refresh(PATIENCE).expect("a load");
    assert_eq!(worker.percent("new_checkout"), Some(20));
}

#[test]
fn a_role_that_may_not_read_is_called_so() {
    let mut shop = Shop::open();
    let role = format!("\"reader of {}\"", shop.application);
    shop.run(&format!("CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {{schema}} TO {role}"));
    let mut options = shop.options();
    let user = role.trim_matches('"').to_owned();
    options.parameters.insert("user".into(), user);
    let worker = Worker::start(&options);
    let error = worker.engine.refresh(PATIENCE).expect_err("it may not read");
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Permission, Some("42501")));
    drop(worker);
    shop.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
