//! What sessions do to the tables, as templates.
//!
//! `#` is a number from 1 to 14, the number of a row that may exist, and `@` one from 0 to 999.

use flagstaff::postgres::queries::Names;

use super::random::Random;
use super::shop::Kind;

/// What else has to be known of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    /// It locks a table so that loads wait until its transaction ends.
    Locks,
    /// It must not be in a transaction.
    Alone,
    /// Its changes leave no trace in tokens or the catalog: only a load of everything shows them.
    Hides,
}

pub(super) struct Action {
    pub(super) template: String,
    pub(super) effect: Effect,
}

/// A table whose rows have a number.
struct Table {
    /// The start of the placeholders of its columns.
    of: &'static str,
    /// The expression of the primary key with the number `n`, and the letter of its keys.
    pk: &'static str,
    key: &'static str,
    letter: &'static str,
    columns: &'static str,
    /// The row with the number `n`.
    row: &'static str,
    changes: &'static [&'static str],
    faults: &'static [&'static str],
    /// Makes bad columns good: the columns, and the condition for a bad one.
    repairs: &'static [(&'static str, &'static str)],
}

const TABLES: [Table; 6] = [
    Table {
        of: "flag",
        pk: "{schema}.flag_pk(n)",
        key: "{flag_key}",
        letter: "f",
        columns: "{flag_pk}, {flag_key}, {flag_enabled}, {flag_rollout}, {flag_client_side}, \
                  {flag_rules}, {flag_bucket_by}",
        row: "{schema}.flag_pk(n), 'f' || n, (n + @) % 3 > 0, (n * 7 + @) % 101, n % 2 = 0, \
              {schema}.rules(n + @), CASE (n + @) % 5 WHEN 0 THEN 'visitor' ELSE 'user' END",
        changes: &[
            "{flag_rollout} = @ % 101",
            "{flag_rollout} = {flag_rollout} + 1",
            "{flag_enabled} = @ % 2 = 0",
            "{flag_rules} = {schema}.rules(@)",
            "{flag_bucket_by} = CASE @ % 2 WHEN 0 THEN 'user' ELSE 'organization' END",
            "{flag_client_side} = @ % 2 = 0",
        ],
        faults: &[
            "{flag_key} = NULL",
            "{flag_enabled} = NULL",
            "{flag_rollout} = 'NaN'",
            "{flag_rules} = '{\"a\": 1}'",
            "{flag_rules} = jsonb_build_array(repeat('x', 300000))",
            "{flag_key} = 'f#'",
        ],
        repairs: &[
            ("{flag_enabled} = true", "{flag_enabled} IS NULL"),
            ("{flag_rollout} = 5", "{flag_rollout} IS NULL OR {flag_rollout}::float8 = 'NaN'"),
            (
                "{flag_rules} = '[]'",
                "jsonb_typeof({flag_rules}) <> 'array' OR octet_length({flag_rules}::text) > 9999",
            ),
        ],
    },
    Table {
        of: "value",
        pk: "{schema}.value_pk(n)",
        key: "{value_key}",
        letter: "v",
        columns: "{value_pk}, {value_key}, {value_value}, {value_secret}, {value_rules}, \
                  {value_bucket_by}",
        row: "{schema}.value_pk(n), 'v' || n, to_jsonb((n * @) % 1000), n % 4 = 0, \
              {schema}.value_rules(n + @), 'user'",
        changes: &[
            "{value_value} = to_jsonb(@)",
            "{value_value} = NULL",
            "{value_secret} = @ % 2 = 0",
            "{value_rules} = {schema}.value_rules(@)",
            "{value_client_side} = @ % 2 = 0",
        ],
        faults: &[
            "{value_key} = NULL",
            "{value_key} = 'renumbered'",
            "{value_value} = to_jsonb(repeat('x', 1100000))",
            "{value_rules} = '[{\"conditions\": []}]'",
            "{value_key} = 'v#'",
        ],
        repairs: &[
            ("{value_value} = '1'", "octet_length({value_value}::text) > 9999"),
            ("{value_rules} = '[]'", "{value_rules} = '[{\"conditions\": []}]'"),
        ],
    },
    Table {
        of: "segment",
        pk: "{schema}.segment_pk(n)",
        key: "{segment_key}",
        letter: "s",
        columns: "{segment_pk}, {segment_key}, {segment_conditions}",
        row: "{schema}.segment_pk(n), 's' || n, {schema}.conditions(n + @)",
        changes: &["{segment_conditions} = {schema}.conditions(@)"],
        faults: &[
            "{segment_key} = NULL",
            "{segment_conditions} = NULL",
            "{segment_conditions} = '[{\"segment\": \"s1\"}]'",
            "{segment_conditions} = jsonb_build_array(repeat('x', 300000))",
            "{segment_key} = 's#'",
        ],
        repairs: &[(
            "{segment_conditions} = {schema}.conditions(2)",
            "{segment_conditions} IS NULL OR {segment_conditions}::text LIKE '%\"segment\"%' \
             OR octet_length({segment_conditions}::text) > 9999",
        )],
    },
    Table {
        of: "plan",
        pk: "n",
        key: "{plan_key}",
        letter: "p",
        columns: "id, flag_pk, key, state, run_id, salt, latency_limits, guarded_until",
        row: "n, {schema}.flag_pk(n)::text, 'f' || n, \
              (ARRAY['pending', 'running', 'holding', 'paused', 'done'])[1 + (n + @) % 5], \
              nullif((n + @) % 4, 0), '\\x0102'::bytea, '{\"1\": 0.5}'::jsonb, \
              now() + interval '1 hour'",
        changes: &[
            "state = (ARRAY['running', 'holding', 'paused', 'done'])[1 + @ % 4]",
            "run_id = nullif(@ % 3, 0)",
            "flag_pk = {schema}.flag_pk(#)::text",
            "guarded_until = CASE @ % 2 WHEN 0 THEN now() ELSE NULL END",
        ],
        faults: &["latency_limits = '{\"a\": 1}'"],
        repairs: &[("latency_limits = '{}'", "latency_limits = '{\"a\": 1}'")],
    },
    Table {
        of: "experiment",
        pk: "n",
        key: "{experiment_key}",
        letter: "e",
        columns: "id, key, state, winner, run, traffic_percent, variants, overrides, rules, \
                  bucket_by",
        row: "n, 'e' || n, (ARRAY['draft', 'running', 'stopped'])[1 + (n + @) % 3], '', \
              (n + @) % 5, 100, '[{\"key\": \"a\", \"weight\": 1}, \
              {\"key\": \"b\", \"weight\": 1}]'::jsonb, '{}'::jsonb, \
              {schema}.rules(n + @), 'user'",
        changes: &[
            "state = (ARRAY['draft', 'running', 'stopped'])[1 + @ % 3]",
            "run = @ % 9",
            "rules = {schema}.rules(@)",
            "traffic_percent = @ % 101",
            "overrides = '{\"7\": \"b\"}'",
        ],
        faults: &["state = 'lost'", "variants = '[]'", "key = 'e#'", "rules = '[1]'"],
        repairs: &[
            ("state = 'draft'", "state = 'lost'"),
            ("variants = '[{\"key\": \"b\", \"weight\": 1}]'", "variants = '[]'"),
            ("rules = '[]'", "rules = '[1]'"),
        ],
    },
    Table {
        of: "group",
        pk: "{schema}.group_pk(n)",
        key: "{group_name}",
        letter: "",
        columns: "{group_pk}, {group_name}",
        row: "{schema}.group_pk(n), 'g' || n % 9",
        changes: &["{group_name} = 'g' || @ % 9", "{group_name} = 'g' || @ % 9"],
        faults: &["{group_name} = NULL"],
        repairs: &[],
    },
];

/// Changes of the rows of one of the tables. `{table}`, `{pk}`, `{key}`, `{columns}`, `{row}`,
/// `{pk_of_n}` and `{change}` are those of the table, `{one}` to `{three}` are keys of its rows.
#[rustfmt::skip]
const OF_ROWS: [(usize, Effect, &str); 24] = {
    use Effect::{Locks, None};
    [
        (60, None, "{insert} FROM unnest(ARRAY[#]) AS n {if_new}"),
        (15, None, "{insert} FROM unnest(ARRAY[#, #, #]) AS n {if_new}"),
        (3, None, "{insert} FROM generate_series(100, 165 + #) AS n {if_new}"),
        (3, None, "{insert} FROM unnest(ARRAY[#]) AS n"),
        (10, None, "{insert} FROM unnest(ARRAY[#]) AS n {or_nothing}"),
        (10, None, "{insert} FROM unnest(ARRAY[#]) AS n {or_change}"),
        (90, None, "UPDATE {table} SET {change} WHERE {pk} = {one}"),
        (20, None, "UPDATE {table} SET {change} WHERE {pk} IN ({one}, {two}, {three})"),
        (6, None, "UPDATE {table} SET {change}"),
        (3, None, "UPDATE {table} SET {pk} = {pk} WHERE {pk} = {one}"),
        (25, None, "DELETE FROM {table} WHERE {pk} = {one}"),
        (8, None, "DELETE FROM {table} WHERE {pk} IN ({one}, {two}, {three})"),
        (8, None, "DELETE FROM {table} WHERE {pk} IN (
            SELECT {pk_of_n} FROM generate_series(100, 180) AS n)"),
        (1, None, "DELETE FROM {table}"),
        (8, None, "UPDATE {table} SET {pk} = {one} WHERE {pk} = {two}"),
        (2, None, "UPDATE {table} SET {pk} = CASE {pk} WHEN {one} THEN {two} ELSE {one} END
            WHERE {pk} IN ({one}, {two})"),
        (6, None, "UPDATE {table} SET {key} = 'x#' WHERE {pk} = {one}"),
        (6, None, "UPDATE {table} AS t SET {key} = other.{key} FROM {table} AS other
            WHERE t.{pk} IN ({one}, {two}) AND other.{pk} IN ({one}, {two})
            AND t.{pk} <> other.{pk}"),
        (4, None, "MERGE INTO {table} AS t USING (
                SELECT {row} FROM unnest(ARRAY[#, #]) AS n
            ) AS s ({columns}) ON t.{pk} = s.{pk}
            WHEN MATCHED AND @ % 3 = 0 THEN DELETE
            WHEN MATCHED THEN UPDATE SET {key} = s.{key}
            WHEN NOT MATCHED THEN INSERT ({columns}) SELECT_ROW"),
        (3, None, "UPDATE {table} SET {change} WHERE false"),
        (2, None, "DELETE FROM {table} WHERE false"),
        (2, None, "{insert} FROM generate_series(1, 0) AS n"),
        (1, Locks, "TRUNCATE {table} CASCADE"),
        (2, Locks, "TRUNCATE {table} CASCADE; {insert}
            FROM generate_series(1, #) AS n"),
    ]
};

/// The same for allowed users and members: pairs of a flag or a group and a user.
#[rustfmt::skip]
const OF_PAIRS: [(usize, Effect, &str); 13] = {
    use Effect::{Locks, None};
    [
        (60, None, "INSERT INTO {table} SELECT {owner_pk}, {schema}.user_pk(n)
            FROM {owner_table}, unnest(ARRAY[#]) AS n
            WHERE {owner_pk} = {owner} ON CONFLICT DO NOTHING"),
        (20, None, "INSERT INTO {table} SELECT {owner_pk}, {schema}.user_pk(n)
            FROM {owner_table}, unnest(ARRAY[#, #, #]) AS n
            WHERE {owner_pk} = {owner} ON CONFLICT DO NOTHING"),
        (4, None, "INSERT INTO {table} SELECT {owner_pk}, {schema}.user_pk(n)
            FROM {owner_table}, generate_series(1, 40 + # * 5) AS n
            WHERE {owner_pk} = {owner} ON CONFLICT DO NOTHING"),
        (6, None, "INSERT INTO {table} SELECT {owner}, {schema}.user_pk(#)"),
        (20, None, "UPDATE {table} SET {user} = {schema}.user_pk(#)
            WHERE {pair_owner} = {owner} AND {user} = {schema}.user_pk(#)"),
        (5, None, "UPDATE {table} SET {user} = {schema}.user_pk(#) WHERE {pair_owner} = {owner}"),
        (10, None, "UPDATE {table} SET {pair_owner} = {owner} WHERE {user} = {schema}.user_pk(#)"),
        (20, None, "DELETE FROM {table}
            WHERE {pair_owner} = {owner} AND {user} = {schema}.user_pk(#)"),
        (10, None, "DELETE FROM {table} WHERE {pair_owner} = {owner}"),
        (10, None, "DELETE FROM {table} WHERE {user} = {schema}.user_pk(#)"),
        (3, None, "UPDATE {table} SET {user} = {user} WHERE {pair_owner} = {owner}"),
        (1, Locks, "TRUNCATE {table}"),
        (2, None, "DELETE FROM {table} WHERE false"),
    ]
};

/// The next token prunes, and all tokens before it are old.
const PRUNE_NEXT: &str = "SELECT setval($q${schema}.flagstaff_token_id_seq$q$,
    (last_value / 64 + 18) * 64 - 1) FROM {schema}.flagstaff_token_id_seq";

/// Changes of several tables, of the token table, and of the catalog.
#[rustfmt::skip]
const OTHERS: [(usize, Effect, &str); 27] = {
    use Effect::{Alone, Hides, Locks, None};
    [
        (20, None, "WITH changed AS (
                UPDATE {flag_table} SET {flag_rollout} = @ % 101
                WHERE {flag_pk} = {schema}.flag_pk(#)
            ), deleted AS (
                DELETE FROM {value_table} WHERE {value_pk} = {schema}.value_pk(#)
            )
            UPDATE {segment_table} SET {segment_conditions} = {schema}.conditions(@)
            WHERE {segment_pk} = {schema}.segment_pk(#)"),
        (15, None, "WITH changed AS (
                UPDATE {flag_table} SET {flag_rules} = {schema}.rules(@)
                WHERE {flag_pk} = {schema}.flag_pk(#) RETURNING {flag_pk}
            )
            INSERT INTO {allowed_users_table} SELECT {flag_pk}, {schema}.user_pk(#) FROM changed
            ON CONFLICT DO NOTHING"),
        (10, None, "SELECT {schema}.flagstaff_barrier_v1()"),
        (4, None, "SELECT {schema}.flagstaff_write_token_v1('b'::\"char\", '{}'::text[])
            FROM generate_series(1, 70)"),
        (2, None, "UPDATE {flag_table} SET {flag_rollout} = @ % 100
            WHERE {flag_pk} = {schema}.flag_pk(#);
            SELECT {schema}.flagstaff_write_token_v1('b'::\"char\", '{}'::text[])
            FROM generate_series(1, 260)"),
        (30, None, PRUNE_NEXT),
        (10, None, "DELETE FROM {token_table} WHERE {seen} AND id % 5 = @ % 5"),
        (2, None, "DELETE FROM {token_table} WHERE {seen}"),
        // Tokens of another server, as after a restore: their transactions have yet to begin here.
        (1, None, "UPDATE {token_table} SET xact = ((txid_current() + @ % 300)::text)::xid8
            WHERE id % 5 = @ % 5"),
        (1, Locks, "TRUNCATE {token_table}"),
        (2, Hides, "UPDATE {flag_table} SET {flag_rollout} = @ % 101
            WHERE {flag_pk} = {schema}.flag_pk(#);
            DELETE FROM {token_table} WHERE xact = pg_current_xact_id()"),
        (4, Alone, "SET LOCAL session_replication_role = replica;
            UPDATE {flag_table} SET {flag_rollout} = @ % 101 WHERE {flag_pk} = {schema}.flag_pk(#);
            DELETE FROM {value_table} WHERE {value_pk} = {schema}.value_pk(#)"),
        (2, Alone, "ALTER TABLE {flag_table} ENABLE TRIGGER flagstaff_token_update_v1;
            SET LOCAL session_replication_role = replica;
            UPDATE {flag_table} SET {flag_rollout} = @ % 101 WHERE {flag_pk} = {schema}.flag_pk(#);
            ALTER TABLE {flag_table} ENABLE ALWAYS TRIGGER flagstaff_token_update_v1"),
        (2, None, "ALTER TABLE {value_table} ENABLE TRIGGER flagstaff_token_insert_v1"),
        (2, None, "{disable_triggers}
            UPDATE {flag_table} SET {flag_rollout} = @ % 101;
            UPDATE {value_table} SET {value_value} = to_jsonb(@)
            WHERE {value_pk} = {schema}.value_pk(#);
            DELETE FROM {allowed_users_table} WHERE {allowed_users_user} = {schema}.user_pk(#);
            {enable_triggers}"),
        (1, None, "ALTER TABLE {flag_table} DISABLE TRIGGER flagstaff_token_update_v1"),
        (2, Locks, "{one_trigger_of_flag_table}"),
        (2, Locks, "{one_trigger_of_allowed_users_table}"),
        (2, Locks, "{one_trigger_of_segment_table}"),
        (2, Locks, "ALTER TABLE {flag_table} ALTER COLUMN {flag_rollout} TYPE int
            USING nullif({flag_rollout}::float8, 'NaN')::int"),
        (2, Locks, "ALTER TABLE {flag_table} ALTER COLUMN {flag_rollout} TYPE numeric"),
        (2, Locks, "ALTER TABLE {value_table} ALTER COLUMN {value_value} TYPE jsonb
            USING to_jsonb(@)"),
        (2, Alone, "VACUUM (FULL) {flag_table}"),
        (1, Alone, "VACUUM {token_table}"),
        (3, None, "ANALYZE {value_table}"),
        (1, Locks, "CREATE INDEX IF NOT EXISTS by_key ON {segment_table} ({segment_key});
            CLUSTER {segment_table} USING by_key"),
        (2, Locks, "CREATE TABLE {schema}.heir () INHERITS ({flag_table});
            CREATE TRIGGER flagstaff_token_v1 AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
            ON {schema}.heir EXECUTE FUNCTION {schema}.flagstaff_token_v1('f');
            ALTER TABLE {schema}.heir ENABLE ALWAYS TRIGGER flagstaff_token_v1;
            INSERT INTO {schema}.heir ({flag_pk}, {flag_key}, {flag_enabled}, {flag_rollout})
            VALUES ({schema}.flag_pk(77), 'heir', true, @ % 101)"),
    ]
};

/// Ends what others of these changes of the catalog begin.
const USUAL_CATALOG: [(Effect, &str); 5] = {
    use Effect::{Locks, None};
    [
        (None, "{enable_triggers}"),
        (Locks, "{four_triggers_of_flag_table}"),
        (Locks, "{four_triggers_of_allowed_users_table}"),
        (Locks, "{four_triggers_of_segment_table}"),
        (Locks, "DROP TABLE {schema}.heir"),
    ]
};

/// Statements in a savepoint that is rolled back: the tokens and what they pruned are not there.
const ROLLED_BACK: &str = "SAVEPOINT pruning; {prune_next};
    UPDATE {flag_table} SET {flag_rollout} = @ % 101 WHERE {flag_pk} = {schema}.flag_pk(#);
    ROLLBACK TO SAVEPOINT pruning; RELEASE SAVEPOINT pruning";

/// Adds the names that templates have beside those of tables and columns.
pub(super) fn add_names(names: &mut Names) {
    names.insert("prune_next".into(), PRUNE_NEXT.into());
}

/// What the next action depends on.
pub(super) struct State {
    pub(super) kind: Kind,
    pub(super) in_transaction: bool,
    /// Whether rows have problems, which are to be repaired some time.
    pub(super) has_bad_rows: bool,
    /// The same of triggers, columns and tables.
    pub(super) has_odd_catalog: bool,
}

/// The next action.
pub(super) fn next(random: &mut Random, state: &State) -> Action {
    let State { kind, in_transaction, has_bad_rows, has_odd_catalog } = *state;
    if random.percent(if has_bad_rows { 25 } else { 1 }) {
        return repair(random);
    }
    if random.percent(if has_odd_catalog { 30 } else { 1 }) {
        let (effect, template) = USUAL_CATALOG[random.below(USUAL_CATALOG.len())];
        return Action { template: template.into(), effect };
    }
    let plain = |template| Action { template, effect: Effect::None };
    match random.below(100) {
        0..=1 => plain(fault(random)),
        2..=3 if in_transaction => plain(ROLLED_BACK.into()),
        2..=62 => of_rows(random, kind),
        63..=87 => of_pairs(random),
        _ => {
            let weighted = OTHERS.map(|(weight, effect, template)| (weight, (effect, template)));
            let (effect, template) = random.weighted(&weighted);
            Action { template: template.into(), effect }
        }
    }
}

/// Where the rows of an INSERT are new.
const IF_NEW: &str = "WHERE NOT EXISTS (
    SELECT FROM {table} WHERE {pk} = {pk_of_n} OR {key} = '{letter}' || n)";

fn of_rows(random: &mut Random, kind: Kind) -> Action {
    let table = &TABLES[random.below(TABLES.len())];
    let weighted = OF_ROWS.map(|(weight, effect, template)| (weight, (effect, template)));
    let (effect, template) = random.weighted(&weighted);
    let if_constrained = |text| if kind.has_constraints() { text } else { IF_NEW };
    let change = table.changes[random.below(table.changes.len())];
    let template = template
        .replace("{or_nothing}", if_constrained("ON CONFLICT DO NOTHING"))
        .replace(
            "{or_change}",
            if_constrained("ON CONFLICT ({pk}) DO UPDATE SET {key} = EXCLUDED.{key}"),
        )
        .replace("{if_new}", IF_NEW)
        .replace("{insert}", "INSERT INTO {table} ({columns}) SELECT {row}")
        .replace("SELECT_ROW", &format!("VALUES ({})", of(table.columns, "s.")))
        .replace("{change}", change);
    Action { template: table.filled(random, &template), effect }
}

/// These columns of a row.
fn of(columns: &str, row: &str) -> String {
    let columns: Vec<_> = columns.split(", ").map(|column| format!("{row}{column}")).collect();
    columns.join(", ")
}

impl Table {
    fn filled(&self, random: &mut Random, template: &str) -> String {
        let mut text = template.to_owned();
        for place in ["{one}", "{two}", "{three}"] {
            let number = (1 + random.below(14)).to_string();
            text = text.replace(place, &self.pk_of(&number));
        }
        text.replace("{table}", &format!("{{{}_table}}", self.of))
            .replace("{pk_of_n}", self.pk)
            .replace("{pk}", &format!("{{{}_pk}}", self.of))
            .replace("{key}", self.key)
            .replace("{letter}", self.letter)
            .replace("{columns}", self.columns)
            .replace("{row}", self.row)
    }

    fn pk_of(&self, number: &str) -> String {
        if self.pk == "n" { number.into() } else { self.pk.replace("(n)", &format!("({number})")) }
    }
}

fn of_pairs(random: &mut Random) -> Action {
    let weighted = OF_PAIRS.map(|(weight, effect, template)| (weight, (effect, template)));
    let (effect, template) = random.weighted(&weighted);
    let (owner, table, pair_owner, user) = if random.percent(50) {
        ("flag", "{allowed_users_table}", "{allowed_users_flag}", "{allowed_users_user}")
    } else {
        ("group", "{membership_table}", "{membership_group}", "{membership_user}")
    };
    let template = template
        .replace("{table}", table)
        .replace("{pair_owner}", pair_owner)
        .replace("{user}", user)
        .replace("{owner_pk}", &format!("{{{owner}_pk}}"))
        .replace("{owner_table}", &format!("{{{owner}_table}}"))
        .replace("{owner}", &format!("{{schema}}.{owner}_pk(#)"));
    Action { template, effect }
}

/// Makes a row unusable.
fn fault(random: &mut Random) -> String {
    let table = &TABLES[random.below(TABLES.len())];
    let fault = table.faults[random.below(table.faults.len())];
    table.filled(random, &format!("UPDATE {{table}} SET {fault} WHERE {{pk}} = {{one}}"))
}

/// Makes the rows of a table usable.
fn repair(random: &mut Random) -> Action {
    let table = &TABLES[random.below(TABLES.len())];
    let mut statements = vec![
        "UPDATE {table} SET {key} = concat('r', @, ' ', ctid) WHERE {key} IS NULL OR {key} IN (
            SELECT {key} FROM {table} GROUP BY 1 HAVING count(*) > 1)"
            .to_owned(),
    ];
    for (good, bad) in table.repairs {
        statements.push(format!("UPDATE {{table}} SET {good} WHERE {bad}"));
    }
    let template = table.filled(random, &statements.join(";\n"));
    Action { template, effect: Effect::None }
}
