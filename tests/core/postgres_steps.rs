//! After each of many random steps, a worker that loads rows has the snapshot of a fresh one.
//!
//! A step is one action of one of several sessions, whose transactions stay open beside each other.
//! Then three workers load at the same point in time, because nothing commits meanwhile: one as in
//! production, one with whole tables, and a fresh one. The second shows what rows that cannot be
//! used leave behind: their last good version, which a fresh worker lacks.
//!
//! `TEST_STEPS` is the number of steps, for all kinds of keys together, and `TEST_SEED` the seed of a
//! failure. `--nocapture` shows how many loads have read rows.

mod actions;
mod random;
mod shop;
mod workers;
mod writers;

use std::collections::{BTreeMap, VecDeque};

use self::actions::{Action, Effect, State};
use self::random::Random;
use self::shop::{Kind, Shop, filled};
use self::workers::{Compared, Workers};
use self::writers::{Missed, Writer};

const WRITERS: usize = 5;
/// How many actions a failure lists.
const LISTED: usize = 50;

/// What a statement has committed, or the code of its refusal.
type Outcome = Result<Option<Missed>, String>;

/// The state of one run.
struct Run {
    seed: u64,
    random: Random,
    /// Before the shop: its tables are dropped once their sessions have ended.
    writers: Vec<Writer>,
    workers: Workers,
    shop: Shop,
    /// The last actions.
    log: VecDeque<String>,
    refusals: BTreeMap<String, usize>,
    /// The rows of all tables at some time, as COPY writes them.
    backup: Vec<(String, Vec<u8>)>,
    steps: usize,
    actions: usize,
    commits: usize,
}

/// The tables in the order in which they are restored.
const RESTORED: [&str; 9] = [
    "{flag_table}",
    "{allowed_users_table}",
    "{value_table}",
    "{segment_table}",
    "{plan_table}",
    "{experiment_table}",
    "{group_table}",
    "{membership_table}",
    "{token_table}",
];

impl Run {
    fn new(kind: Kind, seed: u64) -> Self {
        let mut shop = Shop::open(kind);
        actions::add_names(&mut shop.names);
        Self {
            seed,
            random: Random::new(seed.wrapping_mul(10) + kind as u64),
            writers: (0..WRITERS).map(|_| Writer::connect()).collect(),
            workers: Workers::start(&shop.names, kind.has_constraints()),
            shop,
            log: VecDeque::new(),
            refusals: BTreeMap::new(),
            backup: Vec::new(),
            steps: 0,
            actions: 0,
            commits: 0,
        }
    }

    /// One step: some actions, mostly one, then a load of each worker.
    fn step(&mut self) {
        let actions = match self.random.below(200) {
            0 => 60 + self.random.below(60),
            1..=20 => 2 + self.random.below(8),
            _ => 1,
        };
        for _ in 0..actions {
            self.act();
        }
        // Loads would wait for it.
        while let Some(number) = self.writers.iter().position(Writer::locks) {
            if self.random.percent(50) {
                self.act();
            } else {
                self.control(number);
            }
        }
        match self.workers.step(&mut self.random) {
            Compared::Same => {}
            Compared::Locked => self.note("a load waited for a lock"),
            Compared::Different(differences) => {
                self.note("the loads");
                panic!("{}", self.story(&differences));
            }
        }
        self.steps += 1;
    }

    fn act(&mut self) {
        self.actions += 1;
        let is_urgent = |writer: &Writer| writer.locks() || writer.has_failed();
        let urgent = self.writers.iter().position(is_urgent);
        let number = urgent.filter(|_| self.random.percent(40));
        let number = number.unwrap_or_else(|| self.random.below(WRITERS));
        let writer = &self.writers[number];
        let controls = match writer.in_transaction() {
            _ if is_urgent(writer) => 70,
            true => 30,
            false => 8,
        };
        match self.random.below(1000) {
            0..5 => self.back_up(number),
            5..10 => self.restore(number),
            10..30 => self.copy(number),
            _ if self.random.percent(controls) => self.control(number),
            _ => self.change(number),
        }
    }

    fn control(&mut self, number: usize) {
        let statement = self.writers[number].control(&mut self.random);
        let outcome = self.writers[number].run_control(statement, self.commits);
        self.ran(number, statement, outcome);
    }

    fn change(&mut self, number: usize) {
        let in_transaction = self.writers[number].in_transaction();
        let state = State {
            kind: self.shop.kind,
            in_transaction,
            has_bad_rows: self.workers.have_bad_rows,
            has_odd_catalog: self.workers.find_odd_catalog(),
        };
        let Action { template, effect } = actions::next(&mut self.random, &state);
        if effect == Effect::Alone && in_transaction {
            return;
        }
        let statement = self.filled(&template);
        let outcome = self.run(number, &statement, effect);
        self.ran(number, &statement, outcome);
    }

    fn run(&mut self, number: usize, statement: &str, effect: Effect) -> Outcome {
        let of_groups = ["group_table", "membership_table"].map(|table| &self.shop.names[table]);
        if of_groups.iter().any(|table| statement.contains(&***table)) {
            // A locked token table takes no token, and a replica calls no receiver.
            let leaves_none = statement.contains("session_replication_role")
                || self.writers.iter().any(Writer::locks);
            let has_none = self.writers[number].changes_groups(self.commits, leaves_none);
            self.workers.missed.groups |= has_none;
        }
        self.writers[number].run(statement, effect)
    }

    /// A template with the names, the rows that the workers have seen, and random numbers.
    fn filled(&mut self, template: &str) -> String {
        let seen = format!("pg_visible_in_snapshot(xact, '{}')", self.workers.seen());
        let template = filled(&template.replace("{seen}", &seen), &self.shop.names);
        let mut statement = String::new();
        for letter in template.chars() {
            match letter {
                '#' => statement += &(1 + self.random.below(14)).to_string(),
                '@' => statement += &self.random.below(1000).to_string(),
                other => statement.push(other),
            }
        }
        statement
    }

    fn copy(&mut self, number: usize) {
        let rows = "SELECT {schema}.flag_pk(n), 'f' || n, true, n, n > 5, '[]'::jsonb, 'user'
            FROM generate_series(#, 9 + #) AS n
            WHERE NOT EXISTS (SELECT FROM {flag_table} WHERE {flag_pk} = {schema}.flag_pk(n))";
        let (query, table) = (self.filled(rows), self.filled("{flag_table}"));
        let writer = &mut self.writers[number];
        if writer.has_failed() {
            return;
        }
        let copied = writer.copy_out(&query).and_then(|rows| writer.copy_in(&table, &rows));
        let commits = (!writer.in_transaction()).then(Missed::default);
        let outcome = copied.map(|()| commits);
        self.ran(number, "COPY flags", outcome);
    }

    fn back_up(&mut self, number: usize) {
        if self.writers[number].in_transaction() {
            return;
        }
        let mut backup = Vec::new();
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ";
        self.writers[number].run_control(begin, self.commits).expect("begun");
        for table in RESTORED {
            let query = self.filled(&format!("SELECT * FROM {table}"));
            match self.writers[number].copy_out(&query) {
                Ok(rows) => backup.push((self.filled(table), rows)),
                Err(_) => break,
            }
        }
        let _ = self.writers[number].run_control("ROLLBACK", self.commits);
        if backup.len() == RESTORED.len() {
            self.backup = backup;
            self.note(&format!("{number}: backed up"));
        }
    }

    /// Restores some or all tables, with triggers, without them, or as replication does.
    fn restore(&mut self, number: usize) {
        if self.backup.is_empty() || self.writers[number].in_transaction() {
            return;
        }
        let (before, after) = self.random.weighted(&[
            (2, ("", "")),
            (2, ("{disable_triggers}", "{enable_triggers}")),
            (2, ("{enable_triggers} SET LOCAL session_replication_role = replica", "")),
        ]);
        let with_tokens = self.random.percent(30);
        let tables = RESTORED.len() - usize::from(!with_tokens);
        let clear = if self.random.percent(50) { "TRUNCATE {} CASCADE" } else { "DELETE FROM {}" };
        self.writers[number].run_control("BEGIN", self.commits).expect("begun");
        let mut statements = vec![before.to_owned()];
        let reversed = RESTORED[..tables].iter().rev();
        statements.extend(reversed.map(|table| clear.replace("{}", table)));
        let statement = self.filled(&statements.join(";\n"));
        let mut outcome = self.run(number, &statement, Effect::Locks);
        for (table, rows) in &self.backup[..tables] {
            if outcome.is_ok() {
                outcome = self.writers[number].copy_in(table, rows).map(|()| None);
            }
        }
        let ending = self.filled(after);
        let outcome = outcome.and_then(|_| self.run(number, &ending, Effect::Locks));
        let can_commit = outcome.is_ok();
        self.ran(number, &format!("restored {tables} tables with {before}, {clear}"), outcome);
        let ending = if can_commit { "COMMIT" } else { "ROLLBACK" };
        let outcome = self.writers[number].run_control(ending, self.commits);
        self.ran(number, ending, outcome);
    }

    fn ran(&mut self, number: usize, statement: &str, outcome: Outcome) {
        match outcome {
            Ok(committed) => {
                self.commits += usize::from(committed.is_some());
                let Missed { changes, groups } = committed.unwrap_or_default();
                self.workers.missed.changes |= changes;
                self.workers.missed.groups |= groups;
                self.note(&format!("{number}: {statement}"));
            }
            Err(code) => {
                self.note(&format!("{number} ({code}): {statement}"));
                assert!(code.len() == 5, "{}", self.story(&[]));
                *self.refusals.entry(code).or_default() += 1;
            }
        }
    }

    /// What to know of a failure.
    fn story(&self, differences: &[String]) -> String {
        let Self { seed, shop, steps, log, .. } = self;
        let log: Vec<_> = log.iter().map(String::as_str).collect();
        let log = log.join("\n");
        format!("seed {seed} of {:?}, step {steps}: {differences:#?}\n{log}", shop.kind)
    }

    fn note(&mut self, event: &str) {
        if self.log.len() == LISTED {
            self.log.pop_front();
        }
        let event = event.replace(&self.shop.names["schema"], "s");
        let event = event.split_whitespace().collect::<Vec<_>>().join(" ");
        self.log.push_back(event.chars().take(600).collect());
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn steps_of(kind: Kind) {
    let steps = number("TEST_STEPS").unwrap_or(300) / 4;
    let seed = number("TEST_SEED").unwrap_or(1);
    let mut run = Run::new(kind, seed);
    for _ in 0..steps {
        run.step();
    }
    let Run { actions, steps, refusals, workers, .. } = run;
    let counts = &workers.counts;
    println!("{kind:?}, seed {seed}: {steps} steps, {actions} actions, {counts:?}, {refusals:?}");
    // Two thirds of long runs. A short one may spend most of its steps without a trigger or a column.
    assert!(8 * counts.by_rows >= counts.with_changes, "single rows are loaded too rarely");
}

#[test]
fn worker_equals_a_fresh_one_after_each_step_with_integer_keys() {
    steps_of(Kind::Integers);
}

#[test]
fn worker_equals_a_fresh_one_after_each_step_with_text_keys_and_no_constraints() {
    steps_of(Kind::Texts);
}

#[test]
fn worker_equals_a_fresh_one_after_each_step_with_uuids_and_triggers_of_the_project() {
    steps_of(Kind::Uuids);
}

#[test]
fn worker_equals_a_fresh_one_after_each_step_with_keys_that_ignore_the_case() {
    steps_of(Kind::IgnoredCase);
}
