//! Many engines in one process, controlled over a pipe: each line of the input is a command as
//! JSON, and each line of the output is its result. `tests/faults/engines.py` is the other side.
//!
//! A worker process costs 60 MB and half a second, an engine costs a thread. The tests measure the
//! load of many workers on one server.

use std::collections::HashMap;
use std::io::{BufRead, Write, stdin, stdout};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flagstaff::live::{EvaluationMode, Live};
use flagstaff::postgres::connect::parameters::Parameters;
use flagstaff::postgres::engine::{Engine, LOAD_TIMEOUT, Options};
use flagstaff::postgres::queries::Names;
use serde::{Deserialize, Serialize};

/// A command of the other side.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Command {
    /// Starts `count` more engines.
    Start { count: usize, parameters: Parameters, names: Names, poll_interval: f64, listen: bool },
    /// Returns the state of each engine.
    Report,
    /// Waits until the condition holds for each engine, and returns when it did, as Unix times.
    Until { condition: Condition, within: f64 },
    /// Stops all engines.
    Stop,
}

/// A condition to wait for. Everything that is given must hold.
#[derive(Deserialize)]
struct Condition {
    /// One of these modes.
    modes: Option<Vec<String>>,
    /// The rollouts of the flags with these keys.
    percent: Option<HashMap<String, i32>>,
    /// The snapshot equalled the database at this Unix time, or later.
    known_since: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Done,
    Times(Vec<Option<f64>>),
    Reports(Vec<State>),
}

#[derive(Serialize)]
struct State {
    mode: &'static str,
    age: Option<f64>,
    loads: u64,
    failures: u64,
    last_error: Option<String>,
}

struct Worker {
    live: &'static Live,
    engine: Engine,
}

impl Worker {
    fn start(options: &Options) -> Self {
        let live: &'static Live = Box::leak(Box::default());
        live.set_mode(EvaluationMode::Memory, false);
        Self { live, engine: Engine::start(options, live).expect("valid parameters") }
    }

    fn state(&self) -> State {
        let report = self.engine.status();
        State {
            mode: report.mode.as_str(),
            age: self.live.age().map(|age| age.as_secs_f64()),
            loads: report.loads,
            failures: report.failures,
            last_error: report.last_error.map(|error| error.to_string()),
        }
    }

    fn meets(&self, condition: &Condition) -> bool {
        let Condition { modes, percent, known_since } = condition;
        let mode = || self.engine.status().mode.as_str();
        modes.as_ref().is_none_or(|modes| modes.iter().any(|one| one == mode()))
            && percent.iter().flatten().all(|(key, percent)| self.percent(key) == Some(*percent))
            && known_since.is_none_or(|since| self.known_at().is_some_and(|known| known >= since))
    }

    fn percent(&self, key: &str) -> Option<i32> {
        self.live.snapshot()?.flag(key).map(|flag| flag.rollout_percent)
    }

    fn known_at(&self) -> Option<f64> {
        self.live.age().map(|age| now() - age.as_secs_f64())
    }
}

fn main() {
    let mut workers = Vec::new();
    for line in stdin().lock().lines() {
        let line = line.expect("a line");
        let reply = execute(&mut workers, serde_json::from_str(&line).expect("a command"));
        let reply = serde_json::to_string(&reply).expect("JSON");
        let mut out = stdout().lock();
        writeln!(out, "{reply}").and_then(|()| out.flush()).expect("a reader");
    }
}

fn execute(workers: &mut Vec<Worker>, command: Command) -> Reply {
    match command {
        Command::Start { count, parameters, names, poll_interval, listen } => {
            let options = Options {
                parameters,
                names,
                listen,
                poll_interval: Duration::from_secs_f64(poll_interval),
                load_timeout: LOAD_TIMEOUT,
                pool_size: 1,
                pool_idle: Duration::ZERO,
                max_staleness: Duration::from_secs(300),
                usage_interval: Duration::ZERO,
                measure_interval: Duration::from_secs(5),
                host: "engines".into(),
                release: String::new(),
                report_parameters: None,
                region: String::new(),
                on_event: || {},
            };
            workers.extend((0..count).map(|_| Worker::start(&options)));
            Reply::Done
        }
        Command::Report => Reply::Reports(workers.iter().map(Worker::state).collect()),
        Command::Until { condition, within } => {
            Reply::Times(until(workers, &condition, Duration::from_secs_f64(within)))
        }
        Command::Stop => {
            stop(workers);
            Reply::Done
        }
    }
}

/// When the condition held for each engine, `None` if it did not in time.
fn until(workers: &[Worker], condition: &Condition, within: Duration) -> Vec<Option<f64>> {
    let deadline = Instant::now() + within;
    let mut times = vec![None; workers.len()];
    while times.contains(&None) && Instant::now() < deadline {
        for (worker, time) in workers.iter().zip(&mut times) {
            if time.is_none() && worker.meets(condition) {
                *time = Some(now());
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    times
}

/// Stops all engines at once, because hundreds in a row would take too long.
fn stop(workers: &mut Vec<Worker>) {
    thread::scope(|scope| {
        for worker in workers.drain(..) {
            scope.spawn(move || worker.engine.stop(Duration::from_secs(5), &mut || false));
        }
    });
}

/// The Unix time, which the other side reads too.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a year after 1970").as_secs_f64()
}
