//! Random statements in two sessions: a worker that loads rows has the same snapshot as one that loads
//! all tables.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::postgres_shop::{PATIENCE, Session, Shop, Worker, eventually};

const CONDITIONS: &str = r#"[{"attribute": "plan", "operator": "in", "values": ["pro"]}]"#;
const RULES: &str = r#"[{"conditions": [{"segment": "segment 1"}]}]"#;

/// A session that changes the rows whose primary keys have its remainder modulo 2, so that it never
/// waits for the other one.
struct Writer {
    session: Session,
    remainder: u8,
    in_transaction: bool,
}

impl Writer {
    fn run(&mut self, statement: &str) {
        self.session.run(statement);
    }

    /// Runs a random statement. `number` makes new keys unique.
    fn step(&mut self, kind: u8, argument: u8, number: usize) {
        let pk = 2 * (argument % 4) + self.remainder;
        let (own, other) = (self.remainder, 2 * (argument / 4 % 4) + self.remainder);
        match kind % 14 {
            0 => self.run(&format!(
                "INSERT INTO {{flag_table}} SELECT {pk}, 'flag {number}', true, {argument} % 100
                WHERE NOT EXISTS (SELECT FROM {{flag_table}} WHERE id = {pk})"
            )),
            1 => self.run(&format!("UPDATE {{flag_table}} SET {{flag_rollout}} = {argument} % 100
                WHERE id IN ({pk}, {other})")),
            2 => self.run(&format!("DELETE FROM {{flag_table}} WHERE id = {pk}")),
            3 => self.run(&format!(
                "UPDATE {{flag_table}} AS one SET {{flag_key}} = two.{{flag_key}}
                FROM {{flag_table}} AS two WHERE (one.id, two.id) IN (({pk}, {other}), ({other}, {pk}))"
            )),
            4 => self.run(&format!(
                "UPDATE {{flag_table}} SET {{flag_rules}} = '{RULES}' WHERE id = {pk}"
            )),
            5 => self.run(&format!("INSERT INTO {{allowed_users_table}}
                SELECT {pk}, user_pk FROM generate_series(0, {argument} % 70) AS user_pk")),
            6 => self.run(&format!("INSERT INTO {{allowed_users_table}} VALUES ({pk}, {argument})")),
            7 => self.run(&format!("DELETE FROM {{allowed_users_table}} WHERE flag_id = {pk}
                AND \"user\" BETWEEN {argument} % 70 - 20 AND {argument} % 70")),
            8 => self.run(&format!(
                "DELETE FROM {{value_table}} WHERE {{value_key}} = 'value {pk}';
                INSERT INTO {{value_table}} ({{value_key}}, {{value_value}})
                VALUES ('value {pk}', '{argument}')"
            )),
            9 => self.run(&format!("DELETE FROM {{segment_table}} WHERE id = {pk};
                INSERT INTO {{segment_table}} VALUES ({pk}, 'segment {pk}', '{CONDITIONS}')")),
            10 => self.run(&format!("DELETE FROM {{segment_table}} WHERE id = {pk}")),
            11 => self.run(&format!(
                "UPDATE {{flag_table}} SET {{flag_rollout}} = 5 WHERE id % 2 = {own}"
            )),
            _ => self.turn(argument),
        }
    }

    /// Begins or ends a transaction, or takes back a part of it.
    fn turn(&mut self, argument: u8) {
        let statement = match (self.in_transaction, argument % 3) {
            (false, _) => "BEGIN; SAVEPOINT part",
            (true, 0) => "ROLLBACK TO part",
            (true, 1) => "ROLLBACK",
            (true, _) => "COMMIT",
        };
        self.run(statement);
        self.in_transaction = statement.starts_with("BEGIN") || statement.ends_with("part");
    }

    fn end(&mut self) {
        if self.in_transaction {
            self.run("COMMIT");
            self.in_transaction = false;
        }
    }
}

/// Waits until the worker has seen all changes, and compares it with one that loads all tables.
fn assert_alike(worker: &Worker, other: &Worker) {
    other.engine.refresh(PATIENCE, &mut || false).expect("a load");
    let expected = other.snapshot();
    eventually(|| worker.snapshot().token_set() == expected.token_set());
    let found = worker.snapshot().differences(&expected);
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{found:?}");
    assert!(worker.snapshot().changed_keys(&expected).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn worker_that_loads_rows_is_like_one_that_loads_all_tables(
        steps in vec((any::<bool>(), any::<u8>(), any::<u8>()), 40..80),
    ) {
        let mut shop = Shop::open();
        shop.run(
            "INSERT INTO {flag_table} SELECT id, 'flag of ' || id, true, 0
            FROM generate_series(0, 7) AS id;
            INSERT INTO {allowed_users_table}
            SELECT id, user_pk FROM generate_series(0, 7) AS id, generate_series(0, 70) AS user_pk",
        );
        // Some tokens of these steps prune others.
        shop.run("ALTER TABLE {token_table} ALTER id RESTART WITH 1000");
        let (worker, other) = (shop.worker(), shop.worker_without_notifications());
        let mut writers = [0, 1].map(|remainder| {
            let session = shop.other_session();
            Writer { session, remainder, in_transaction: false }
        });
        for (number, (of_second, kind, argument)) in steps.into_iter().enumerate() {
            writers[usize::from(of_second)].step(kind, argument, number);
            if number % 5 == 0 {
                assert_alike(&worker, &other);
            }
        }
        writers.iter_mut().for_each(Writer::end);
        assert_alike(&worker, &other);
        prop_assert_eq!(worker.engine.status().failures, 0);
    }
}
