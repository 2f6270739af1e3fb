//! Many engines in one process, driven over a pipe: each line of the input is a command as JSON,
//! answered by a line. `tests/faults/engines.py` is the other side.
//!
//! A worker process costs 60 MB and half a second, an engine a thread. What is tested with many
//! is what they do to a server together.

use std::collections::HashMap;
use std::io::{BufRead, Write, stdin, stdout};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flagstaff::live::{EvaluationMode, Live};
use flagstaff::postgres::connect::parameters::Parameters;
use flagstaff::postgres::engine::{Engine, Options};
use flagstaff::postgres::queries::Names;
use serde::{Deserialize, Serialize};

/// What the other side may ask for.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Command {
    /// Start so many more.
    Start { count: usize, settings: Parameters, names: Names, poll_interval: f64, listen: bool },
    /// What each of them has to say.
    Report,
    /// Wait until it holds for each of them; when it came to that, by the clock on the wall.
    Until { condition: Condition, within: f64 },
    /// End them all.
    Stop,
}

/// What is waited for; all that is given has to hold.
#[derive(Deserialize)]
struct Condition {
    /// One of these modes.
    modes: Option<Vec<String>>,
    /// So many percent for the flags of these keys.
    percent: Option<HashMap<String, i32>>,
    /// A snapshot that is known to have equalled the database at this time, or later.
    known_since: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
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
        Self { live, engine: Engine::start(options, live).expect("usable settings") }
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
        let answer = obey(&mut workers, serde_json::from_str(&line).expect("a command"));
        let answer = serde_json::to_string(&answer).expect("JSON");
        let mut out = stdout().lock();
        writeln!(out, "{answer}").and_then(|()| out.flush()).expect("somebody who reads");
    }
}

fn obey(workers: &mut Vec<Worker>, command: Command) -> Answer {
    match command {
        Command::Start { count, settings, names, poll_interval, listen } => {
            let options = Options {
                parameters: settings,
                names,
                opaque_values: false,
                listen,
                poll_interval: Duration::from_secs_f64(poll_interval),
                pool_size: 1,
                max_staleness: Duration::from_secs(300),
                usage_interval: Duration::ZERO,
                host: "engines".into(),
                on_event: || {},
            };
            workers.extend((0..count).map(|_| Worker::start(&options)));
            Answer::Done
        }
        Command::Report => Answer::Reports(workers.iter().map(Worker::state).collect()),
        Command::Until { condition, within } => {
            Answer::Times(until(workers, &condition, Duration::from_secs_f64(within)))
        }
        Command::Stop => {
            stop(workers);
            Answer::Done
        }
    }
}

/// When the condition came to hold for each of them, `None` where it has not in time.
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

/// All at once, or hundreds would say farewell one after the other.
fn stop(workers: &mut Vec<Worker>) {
    thread::scope(|scope| {
        for worker in workers.drain(..) {
            scope.spawn(move || worker.engine.stop(Duration::from_secs(5)));
        }
    });
}

/// The clock on the wall, which the other side can read too.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a year after 1970").as_secs_f64()
}
