//! The pool on a real server, which `DATABASE_URL` names.

use std::net::TcpListener;
use std::thread::sleep;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres::config::Host;
use postgres::{Client as Observer, NoTls};

use super::*;
use crate::postgres::connect::parameters::Parameters;
use crate::postgres::error::ErrorKind;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);

fn url() -> postgres::Config {
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL names a server");
    url.parse().expect("an address")
}

fn observer() -> Observer {
    url().connect(NoTls).expect("the server takes connections")
}

fn target(changes: &[(&str, String)]) -> Target {
    let url = url();
    let Some(Host::Tcp(host)) = url.get_hosts().first() else { panic!("a host is named") };
    let password = url.get_password().map(|text| String::from_utf8_lossy(text).into_owned());
    let mut parameters: Parameters = [
        ("host", Some(host.clone())),
        ("port", url.get_ports().first().map(ToString::to_string)),
        ("user", url.get_user().map(str::to_owned)),
        ("password", password),
        ("dbname", url.get_dbname().map(str::to_owned)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect();
    parameters.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    Target::new(&parameters).expect("valid parameters")
}

fn pool(size: u32, idle: Duration) -> Pool {
    Pool::new(Arc::new(CurrentTarget::from_pointee(target(&[]))), size, idle)
}

fn task(keeps: bool) -> Task {
    Task { thread: "test", doing: "test", until: Instant::now() + Duration::from_secs(10), keeps }
}

/// Runs a statement over the pool, and returns the process id of the session.
fn run(pool: &Pool, task: Task, statement: &'static str) -> Result<i32, Error> {
    pool.run(task, &mut || false, async move |client: &Client| {
        let failed = |error| Error::driver("test", error);
        let row = client.query_one("SELECT pg_backend_pid()", &[]).await.map_err(failed)?;
        client.batch_execute(statement).await.map_err(failed)?;
        row.try_get(0).map_err(failed)
    })
}

fn pid(pool: &Pool) -> i32 {
    run(pool, task(true), "").expect("a connection")
}

/// Waits until the server has no such session.
#[track_caller]
fn until_closed(pid: i32) {
    let mut observer = observer();
    let until = Instant::now() + Duration::from_secs(10);
    let is_open = "SELECT FROM pg_stat_activity WHERE pid = $1";
    while !observer.query(is_open, &[&pid]).expect("sessions").is_empty() {
        assert!(Instant::now() < until, "the session did not end in time");
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn connection_is_kept_for_the_next_task() {
    let pool = pool(2, LONG);
    let first = pid(&pool);
    assert_eq!((pid(&pool), pid(&pool)), (first, first));
}

#[test]
fn connection_is_closed_after_use_if_none_may_be_kept() {
    let pool = pool(2, Duration::ZERO);
    assert!(!pool.keeps_for(Duration::from_millis(1)));
    until_closed(run(&pool, task(false), "").expect("a connection"));
}

#[test]
fn kept_connection_is_not_used_by_a_task_that_keeps_none() {
    let pool = pool(2, LONG);
    let kept = pid(&pool);
    assert!(run(&pool, task(false), "").is_ok_and(|other| other != kept));
    assert_eq!(pid(&pool), kept);
}

#[test]
fn kept_connection_is_closed_for_a_caller_that_waits_for_its_permit() {
    let pool = pool(1, LONG);
    let kept = pid(&pool);
    assert!(run(&pool, task(false), "").is_ok_and(|other| other != kept));
    until_closed(kept);
}

#[test]
fn kept_connection_is_closed_at_the_end_of_its_idle_time() {
    until_closed(pid(&pool(1, Duration::from_millis(20))));
}

#[test]
fn kept_connection_is_closed_with_the_pool() {
    let pool = pool(1, LONG);
    let kept = pid(&pool);
    pool.close();
    until_closed(kept);
    until_closed(pid(&pool));
}

#[test]
fn kept_connection_to_another_target_is_closed() {
    let pool = pool(1, LONG);
    for (name, value) in [("target_session_attrs", "primary"), ("application_name", "other")] {
        let kept = pid(&pool);
        // Each parameter is a part of the target, such as its password.
        pool.target.store(Arc::new(target(&[(name, value.into())])));
        assert_ne!(pid(&pool), kept);
        until_closed(kept);
    }
}

#[test]
fn task_does_not_wait_for_an_earlier_attempt_at_a_server_that_hangs() {
    let pool = pool(1, LONG);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("an address").port();
    let hung = target(&[("host", "127.0.0.1".into()), ("port", port.to_string())]);
    let good = pool.target.swap(Arc::new(hung));
    let soon = || Task { until: Instant::now() + Duration::from_millis(500), ..task(true) };
    assert!(run(&pool, soon(), "").is_err());
    pool.target.store(good);
    assert!(run(&pool, soon(), "").is_ok());
}

#[test]
fn connection_that_the_server_has_ended_is_replaced() {
    let pool = pool(1, LONG);
    let kept = pid(&pool);
    let ended = observer().execute("SELECT pg_terminate_backend($1, 10000)", &[&kept]);
    assert!(ended.is_ok());
    assert_ne!(pid(&pool), kept);
}

#[test]
fn connection_of_a_failed_task_is_closed() {
    let pool = pool(1, LONG);
    let raised = "DO $$ BEGIN RAISE 'read-only' USING ERRCODE = '25006'; END $$";
    for failing in ["BEGIN; SELECT 1/0", raised] {
        let kept = pid(&pool);
        assert!(run(&pool, task(true), failing).is_err());
        until_closed(kept);
    }
}

#[test]
fn connection_with_an_unfinished_statement_is_closed() {
    let pool = pool(1, LONG);
    let kept = pid(&pool);
    let late = Task { until: Instant::now() + Duration::from_millis(50), ..task(true) };
    let outcome = run(&pool, late, "SELECT pg_sleep(1)");
    assert_eq!(outcome.map_err(|error| error.kind()), Err(ErrorKind::Deadline));
    assert_ne!(pid(&pool), kept);
    let kept = pid(&pool);
    let outcome = pool.run(task(true), &mut || true, async |client: &Client| {
        client
            .batch_execute("SELECT pg_sleep(1)")
            .await
            .map_err(|error| Error::driver("test", error))
    });
    assert!(outcome.is_err());
    assert_ne!(pid(&pool), kept);
}

#[test]
fn kept_connection_to_a_server_that_hangs_is_closed_at_the_deadline() {
    let pool = pool(1, LONG);
    let kept = pid(&pool);
    let stopped = kill(Pid::from_raw(kept), Signal::SIGSTOP);
    stopped.expect("DATABASE_URL names a server of this machine");
    let late = Task { until: Instant::now() + Duration::from_millis(50), ..task(true) };
    let outcome = run(&pool, late, "");
    let next = pid(&pool);
    kill(Pid::from_raw(kept), Signal::SIGCONT).expect("the same process");
    assert_eq!(outcome.map_err(|error| error.kind()), Err(ErrorKind::Deadline));
    assert_ne!(next, kept);
    until_closed(kept);
}

#[test]
fn panic_of_a_task_returns_its_permit() {
    let pool = pool(1, LONG);
    let kept = pid(&pool);
    let outcome: Result<(), Error> =
        pool.run(task(true), &mut || false, async |_: &Client| panic!("a fault of the work"));
    assert_eq!(outcome.map_err(|error| error.kind()), Err(ErrorKind::Lost));
    assert_ne!(pid(&pool), kept);
}
