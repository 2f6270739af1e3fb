//! The pool on a real server, which `DATABASE_URL` names.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::Barrier;
use std::thread::{scope, sleep};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres::NoTls;
use postgres::config::Host;

use super::*;
use crate::postgres::connect::parameters::Parameters;
use crate::postgres::error::ErrorKind;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

fn url() -> postgres::Config {
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL names a server");
    url.parse().expect("an address")
}

fn observer() -> Client {
    url().connect(NoTls).expect("the server takes connections")
}

fn target(changes: &[(&str, String)]) -> Arc<Target> {
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
    Arc::new(Target::new(&parameters).expect("valid parameters"))
}

fn pool(size: u32, idle: Duration) -> Pool {
    Pool::new(Arc::new(CurrentTarget::new(target(&[]))), size, idle)
}

/// Runs a statement over the pool, and returns the process id of the session.
fn run(pool: &Pool, limit: Duration, statement: &str) -> Result<i32, Error> {
    let task = Task { thread: "test", doing: "test", until: Instant::now() + limit };
    let statement = statement.to_owned();
    pool.run(task, &mut || false, move |client| {
        let failed = |error| Error::driver("test", error);
        let row = client.query_one("SELECT pg_backend_pid()", &[]).map_err(failed)?;
        client.batch_execute(&statement).map_err(failed)?;
        row.try_get(0).map_err(failed)
    })
}

#[track_caller]
fn pid(pool: &Pool) -> i32 {
    run(pool, LONG, "").expect("a connection")
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
    until_closed(pid(&pool(2, Duration::ZERO)));
}

#[test]
fn callers_share_a_pool_of_one_connection() {
    for idle in [Duration::ZERO, LONG] {
        let pool = pool(1, idle);
        scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| pid(&pool))).collect();
            assert!(threads.into_iter().all(|thread| thread.join().is_ok()));
        });
    }
}

#[test]
fn callers_use_at_most_as_many_connections_as_the_pool_has() {
    let pool = pool(2, LONG);
    let pids: HashSet<_> = scope(|scope| {
        let run = || run(&pool, LONG, "SELECT pg_sleep(0.02)").expect("a connection");
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a result")).collect()
    });
    assert_eq!(pids.len(), 2);
}

#[test]
fn pool_that_fails_to_connect_further_is_replaced_after_a_task() {
    let pool = pool(2, LONG);
    let kept = pid(&pool);
    pool.connections().last_error.set(Some(Error::lost("connect")));
    assert_eq!(pid(&pool), kept);
    until_closed(kept);
}

#[test]
fn caller_of_a_full_pool_gets_no_error_of_an_earlier_attempt_to_connect() {
    let pool = &pool(1, LONG);
    pool.connections().last_error.set(Some(Error::lost("connect")));
    let barrier = Arc::new(Barrier::new(2));
    scope(|scope| {
        let task = Task { thread: "test", doing: "test", until: Instant::now() + LONG };
        let its_barrier = barrier.clone();
        let work = move |_: &mut Client| {
            its_barrier.wait();
            its_barrier.wait();
            Ok(())
        };
        let first = scope.spawn(move || pool.run(task, &mut || false, work));
        barrier.wait();
        let outcome = run(pool, SHORT, "");
        barrier.wait();
        assert_eq!(outcome.map_err(|error| error.kind()), Err(ErrorKind::Deadline));
        assert!(first.join().is_ok_and(|outcome| outcome.is_ok()));
    });
}

#[test]
fn kept_connections_are_closed_with_the_pool_and_later_ones_after_use() {
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
        pool.target.store(target(&[(name, value.into())]));
        assert_ne!(pid(&pool), kept);
        until_closed(kept);
    }
}

#[test]
fn connection_of_a_failed_task_is_closed() {
    let pool = pool(1, LONG);
    let raised = "DO $$ BEGIN RAISE 'read-only' USING ERRCODE = '25006'; END $$";
    for failing in ["BEGIN; SELECT 1/0", raised] {
        let kept = pid(&pool);
        assert!(run(&pool, LONG, failing).is_err());
        until_closed(kept);
    }
}

#[test]
fn kept_connection_that_the_server_has_ended_fails_no_task() {
    let pool = pool(1, LONG);
    let kept = pid(&pool);
    let ended = observer().execute("SELECT pg_terminate_backend($1, 10000)", &[&kept]);
    assert!(ended.is_ok());
    assert_ne!(pid(&pool), kept);
}

#[test]
fn task_after_an_attempt_at_a_server_that_hangs_succeeds() {
    let pool = pool(1, LONG);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("an address").port();
    let hung = target(&[("host", "127.0.0.1".into()), ("port", port.to_string())]);
    let good = pool.target.swap(hung);
    assert!(run(&pool, SHORT, "").is_err());
    pool.target.store(good);
    pid(&pool);
}

#[test]
fn attempt_at_a_server_that_hangs_ends_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("an address").port();
    let hung = target(&[("host", "127.0.0.1".into()), ("port", port.to_string())]);
    let began = Instant::now();
    let attempt = Manager { target: hung, last_error: LastError::default() }.connect();
    assert_eq!(attempt.map(drop).map_err(|error| error.kind()), Err(ErrorKind::Deadline));
    assert!(began.elapsed() < 2 * deadline::CONNECT);
}

#[test]
fn connection_to_a_server_that_hangs_is_closed_at_the_deadline() {
    let pool = pool(1, LONG);
    let kept = pid(&pool);
    let stopped = kill(Pid::from_raw(kept), Signal::SIGSTOP);
    stopped.expect("DATABASE_URL names a server of this machine");
    let connections = Arc::downgrade(&pool.connections());
    let outcome = run(&pool, SHORT, "");
    let next = pid(&pool);
    // The thread and the socket have ended although the server still hangs.
    let until = Instant::now() + Duration::from_secs(10);
    while connections.strong_count() > 0 {
        assert!(Instant::now() < until, "the thread did not end in time");
        sleep(Duration::from_millis(2));
    }
    kill(Pid::from_raw(kept), Signal::SIGCONT).expect("the same process");
    assert_eq!(outcome.map_err(|error| error.kind()), Err(ErrorKind::Deadline));
    assert_ne!(next, kept);
    until_closed(kept);
}

#[test]
fn panic_of_a_task_closes_its_connection() {
    let pool = pool(1, LONG);
    let kept = pid(&pool);
    let task = Task { thread: "test", doing: "test", until: Instant::now() + LONG };
    let outcome: Result<(), Error> =
        pool.run(task, &mut || false, |_| panic!("a fault of the work"));
    assert_eq!(outcome.map_err(|error| error.kind()), Err(ErrorKind::Lost));
    assert_ne!(pid(&pool), kept);
}
