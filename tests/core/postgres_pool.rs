//! The pool of short connections.

use std::collections::HashSet;
use std::fs::{read_dir, read_to_string};
use std::io::Read;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread::scope;
use std::time::{Duration, Instant};

use flagstaff::postgres::connect::parameters::Parameters;
use flagstaff::postgres::connect::pool::{Pool, Task};
use flagstaff::postgres::connect::target::{CurrentTarget, Target};
use flagstaff::postgres::error::{Error, ErrorKind};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres::Client;

use crate::postgres_fake_servers::rejecting_while;
use crate::postgres_shop::{PATIENCE as LONG, connect as observer, eventually, parameters};

const SHORT: Duration = Duration::from_millis(100);
const THREAD: &str = "test-of-pool";

fn current(parameters: &Parameters) -> Arc<CurrentTarget> {
    Arc::new(CurrentTarget::from_pointee(Target::new(parameters).expect("valid parameters")))
}

fn with(changes: &[(&str, &str)]) -> Arc<Target> {
    let mut parameters = parameters();
    parameters.extend(changes.iter().map(|(name, value)| ((*name).into(), (*value).into())));
    Arc::new(Target::new(&parameters).expect("valid parameters"))
}

fn pool(size: u32, idle: Duration) -> Pool {
    Pool::new(current(&parameters()), size, idle)
}

/// A pool whose server rejects the attempts to connect with such a number, and counts all.
fn rejecting(
    size: u32,
    rejects: impl Fn(u32) -> bool + Send + Sync + 'static,
) -> (Pool, Arc<AtomicU32>) {
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = attempts.clone();
    let next = move || counted.fetch_add(1, Ordering::Relaxed) + 1;
    let parameters = rejecting_while(parameters(), move || rejects(next()));
    (Pool::new(current(&parameters), size, LONG), attempts)
}

fn task(limit: Duration) -> Task {
    Task { thread: THREAD, doing: "test", until: Instant::now() + limit }
}

/// Runs a statement over the pool, and returns the process id of the session.
fn run(pool: &Pool, limit: Duration, statement: &'static str) -> Result<i32, Error> {
    pool.run(task(limit), &mut || false, move |client| {
        let failed = |error| Error::driver("test", error);
        let row = client.query_one("SELECT pg_backend_pid()", &[]).map_err(failed)?;
        client.batch_execute(statement).map_err(failed)?;
        row.try_get(0).map_err(failed)
    })
}

/// Uses a connection until both have waited for the barrier twice.
fn hold(pool: &Pool, barrier: &Arc<Barrier>) -> Result<(), Error> {
    let barrier = barrier.clone();
    pool.run(task(LONG), &mut || false, move |_| {
        barrier.wait();
        barrier.wait();
        Ok(())
    })
}

#[track_caller]
fn pid(pool: &Pool) -> i32 {
    run(pool, LONG, "").expect("a connection")
}

/// Waits until the server has no such session.
#[track_caller]
fn until_closed(pid: i32) {
    let is_open = "SELECT FROM pg_stat_activity WHERE pid = $1";
    eventually(|| observer().query(is_open, &[&pid]).expect("sessions").is_empty());
}

/// A server that takes connections and never sends a byte.
fn silent() -> (TcpListener, Arc<Target>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port().to_string();
    (listener, with(&[("host", "127.0.0.1"), ("port", &port)]))
}

fn has_thread(name: &str) -> bool {
    let threads = read_dir("/proc/self/task").expect("threads").flatten();
    let mut names = threads.filter_map(|thread| read_to_string(thread.path().join("comm")).ok());
    names.any(|found| found.trim() == name)
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
    let (pool, attempts) = rejecting(2, |number| number > 1);
    let kept = pid(&pool);
    let barrier = Arc::new(Barrier::new(2));
    scope(|scope| {
        let first = scope.spawn(|| hold(&pool, &barrier));
        barrier.wait();
        let second = scope.spawn(|| pid(&pool));
        // The one before the third has failed by then.
        eventually(|| attempts.load(Ordering::Relaxed) > 2);
        barrier.wait();
        assert!(first.join().is_ok_and(|outcome| outcome.is_ok()));
        assert!(second.join().is_ok_and(|found| found == kept));
    });
    until_closed(kept);
}

#[test]
fn caller_of_a_full_pool_gets_no_error_of_an_earlier_attempt_to_connect() {
    let (pool, _) = rejecting(1, |number| number < 3);
    let barrier = Arc::new(Barrier::new(2));
    scope(|scope| {
        let first = scope.spawn(|| hold(&pool, &barrier));
        barrier.wait();
        let outcome = run(&pool, SHORT, "");
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
fn connection_is_kept_from_the_second_of_tasks_that_follow_each_other_soon() {
    let pool = pool(1, Duration::ZERO);
    pool.keep_if_frequent(true);
    until_closed(pid(&pool));
    let kept = pid(&pool);
    assert_eq!(pid(&pool), kept);
    pool.keep_no_more();
    assert_eq!(pid(&pool), kept);
    until_closed(kept);
}

#[test]
fn work_that_was_offered_is_done_once_over_the_connection_of_the_next_task_that_succeeds() {
    let pool = pool(1, Duration::ZERO);
    let (sender, done) = channel();
    pool.offer(move |client| {
        let row = client.query_one("SELECT pg_backend_pid()", &[]);
        assert!(sender.send(row.expect("a row").get::<_, i32>(0)).is_ok());
    });
    assert!(run(&pool, LONG, "SELECT 1/0").is_err());
    assert!(done.try_recv().is_err());
    let used = pid(&pool);
    assert_eq!(done.try_recv(), Ok(used));
    assert!(!pool.take_back());
    pool.offer(|_| ());
    assert!(pool.take_back());
}

#[test]
fn kept_connection_to_another_target_is_closed() {
    let current = current(&parameters());
    let pool = Pool::new(current.clone(), 1, LONG);
    for change in [("target_session_attrs", "primary"), ("application_name", "other")] {
        let kept = pid(&pool);
        // Each parameter is a part of the target, such as its password.
        current.store(with(&[change]));
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
fn attempt_at_a_server_that_hangs_ends_in_time_and_the_next_task_succeeds() {
    let current = current(&parameters());
    let pool = Pool::new(current.clone(), 1, LONG);
    let (listener, hung) = silent();
    let good = current.swap(hung);
    assert!(run(&pool, SHORT, "").is_err());
    current.store(good);
    pid(&pool);
    let (mut attempt, _) = listener.accept().expect("an attempt");
    attempt.set_read_timeout(Some(Duration::from_secs(6))).expect("a limit");
    assert!(attempt.read_to_end(&mut Vec::new()).is_ok());
}

#[test]
fn connection_to_a_server_that_hangs_is_closed_at_the_deadline() {
    let pool = pool(1, LONG);
    let kept = pid(&pool);
    let stopped = kill(Pid::from_raw(kept), Signal::SIGSTOP);
    stopped.expect("DATABASE_URL names a server of this machine");
    let hung = Task { thread: "test-of-hung", ..task(SHORT) };
    let outcome = pool.run(hung, &mut || false, |client: &mut Client| {
        client.batch_execute("").map_err(|error| Error::driver("test", error))
    });
    let next = pid(&pool);
    // The thread and its socket have ended although the server still hangs.
    eventually(|| !has_thread("test-of-hung"));
    kill(Pid::from_raw(kept), Signal::SIGCONT).expect("the same process");
    assert_eq!(outcome.map_err(|error| error.kind()), Err(ErrorKind::Deadline));
    assert_ne!(next, kept);
    until_closed(kept);
}

#[test]
fn panic_of_a_task_closes_its_connection() {
    let pool = pool(1, LONG);
    let kept = pid(&pool);
    let outcome: Result<(), Error> =
        pool.run(task(LONG), &mut || false, |_| panic!("a fault of the work"));
    assert_eq!(outcome.map_err(|error| error.kind()), Err(ErrorKind::Lost));
    assert_ne!(pid(&pool), kept);
}
