//! A schema with all tables that a load reads, and the functions and triggers that are installed.

use std::fmt::Write;
use std::sync::atomic::{AtomicU32, Ordering};

use flagstaff::postgres::queries::Names;
use postgres::Client;

use crate::postgres_shop::connect;

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../../python/flagstaff/sql/", $name, ".sql"))
    };
}

static SHOPS: AtomicU32 = AtomicU32::new(0);

/// The types of the keys, and what the tables enforce.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Integers, with primary keys and cascades.
    Integers,
    /// Texts, some of them not ASCII, and no constraint.
    Texts,
    /// UUIDs, with primary keys and cascades, and triggers of the project.
    Uuids,
    /// Texts of a collation that ignores the case, with primary keys and cascades.
    IgnoredCase,
}

/// A schema with all tables, which is dropped at the end.
pub(super) struct Shop {
    pub(super) names: Names,
    pub(super) kind: Kind,
    owner: Client,
}

/// The tables, with names that need quotes and must not be read as templates.
const TABLES: [(&str, &str); 9] = [
    ("flag_table", "\"the \"\"flags\"\"\""),
    ("allowed_users_table", "\"allow'd\""),
    ("value_table", "\"{flag_table}\""),
    ("segment_table", "\"Segment\""),
    ("plan_table", "flagstaff_plan"),
    ("experiment_table", "flagstaff_experiment"),
    ("group_table", "\"Group\""),
    ("membership_table", "\"user's groups\""),
    ("token_table", "flagstaff_token"),
];

/// The columns. Those of allowed users and members are found by pairs.
const COLUMNS: [(&str, &str); 27] = [
    ("flag_pk", "\"the pk\""),
    ("flag_key", "\"Key\""),
    ("flag_enabled", "\"is on\""),
    ("flag_rollout", "\"{percent}\""),
    ("flag_client_side", "browser"),
    ("flag_rules", "\"the \"\"rules\"\"\""),
    ("flag_bucket_by", "\"by'\""),
    ("allowed_users_flag", "\"Flag\""),
    ("allowed_users_user", "\"user\""),
    ("value_pk", "id"),
    ("value_key", "key"),
    ("value_value", "\"value\""),
    ("value_secret", "secret"),
    ("value_client_side", "\"client side\""),
    ("value_rules", "rules"),
    ("value_bucket_by", "\"By\""),
    ("segment_pk", "\"select\""),
    ("segment_key", "key"),
    ("segment_conditions", "\"{conditions}\""),
    ("membership_group", "\"group\""),
    ("membership_user", "\"User\""),
    ("group_pk", "\"Id\""),
    ("group_name", "\"the name\""),
    ("plan_pk", "id"),
    ("plan_key", "key"),
    ("experiment_pk", "id"),
    ("experiment_key", "key"),
];

/// What the templates of flushes name. Nothing is flushed.
const UNUSED: [&str; 11] = [
    "change_table",
    "usage_table",
    "report_table",
    "worker_function",
    "echo_table",
    "exposure_table",
    "lost_exposures_table",
    "seen_register_table",
    "signal_count_table",
    "step_run_table",
    "failed_network_table",
];

/// The tables with their relations and the columns of their keys.
const WATCHED: [(&str, char, &[&str]); 6] = [
    ("flag_table", 'f', &["flag_pk"]),
    ("allowed_users_table", 'm', &["allowed_users_flag", "allowed_users_user"]),
    ("value_table", 'k', &["value_pk"]),
    ("segment_table", 's', &["segment_pk"]),
    ("plan_table", 'p', &["plan_pk"]),
    ("experiment_table", 'e', &["experiment_pk"]),
];

/// The schema, and a collation that ignores the case, if the server was built with ICU.
const SCHEMA: &str = r#"
    CREATE SCHEMA {schema};
    DO $$ BEGIN
        CREATE COLLATION {schema}.ignored_case
            (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    EXCEPTION WHEN feature_not_supported THEN
        CREATE COLLATION {schema}.ignored_case FROM "C";
    END $$
"#;

const CREATE: &str = r#"
    CREATE TABLE {flag_table} (
        {flag_pk} {flag_type} {primary_key}, {flag_key} text, {flag_enabled} boolean,
        {flag_rollout} numeric, {flag_client_side} boolean, {flag_rules} jsonb DEFAULT '[]',
        {flag_bucket_by} text DEFAULT 'user'
    );
    CREATE TABLE {allowed_users_table} (
        {allowed_users_flag} {flag_type} {of_flag}, {allowed_users_user} {user_type} {unique_pair}
    );
    CREATE TABLE {value_table} (
        {value_pk} {value_type} {primary_key}, {value_key} text, {value_value} jsonb,
        {value_secret} boolean, {value_client_side} boolean, {value_rules} jsonb DEFAULT '[]',
        {value_bucket_by} text DEFAULT 'user'
    );
    CREATE TABLE {segment_table} (
        {segment_pk} {segment_type} {primary_key}, {segment_key} text, {segment_conditions} jsonb
    );
    CREATE TABLE {plan_table} (
        id bigint PRIMARY KEY, flag_pk text, key text, state text, run_id bigint, salt bytea,
        latency_limits jsonb, guarded_until timestamptz
    );
    CREATE TABLE {experiment_table} (
        id bigint PRIMARY KEY, key text, state text, winner text, run int, traffic_percent int,
        variants jsonb, overrides jsonb, rules jsonb, bucket_by text
    );
    CREATE TABLE {group_table} ({group_pk} {group_type} {primary_key}, {group_name} text);
    CREATE TABLE {membership_table} (
        {membership_group} {group_type} {of_group}, {membership_user} {user_type} {unique_member}
    );
    CREATE FUNCTION {schema}.rules(n bigint) RETURNS jsonb LANGUAGE sql AS $$
        SELECT CASE n % 9
            WHEN 1 THEN '[{"conditions": [{"segment": "s1"}]}]'
            WHEN 2 THEN jsonb_build_array(jsonb_build_object('conditions', jsonb_build_array(
                jsonb_build_object('segment', 's' || n % 5))))
            WHEN 3 THEN jsonb_build_array(jsonb_build_object('conditions', jsonb_build_array(
                jsonb_build_object('attribute', 'groups', 'operator', 'in',
                    'values', jsonb_build_array('g' || n % 4, 'g' || n % 7)))))
            WHEN 4 THEN '[{"rollout_percent": 50, "conditions": [
                {"attribute": "groups", "operator": "startswith", "values": ["g"]}]}]'
            WHEN 5 THEN '[{"conditions": [
                {"attribute": "country", "operator": "in", "values": ["DE"]}]}]'
            ELSE '[]'
        END::jsonb
    $$;
    CREATE FUNCTION {schema}.conditions(n bigint) RETURNS jsonb LANGUAGE sql AS $$
        SELECT CASE n % 3
            WHEN 1 THEN jsonb_build_array(jsonb_build_object(
                'attribute', 'groups', 'operator', 'in', 'values', jsonb_build_array('g' || n % 4)))
            ELSE jsonb_build_array(jsonb_build_object(
                'attribute', 'country', 'operator', 'in',
                'values', jsonb_build_array('c' || n % 6)))
        END
    $$;
    CREATE FUNCTION {schema}.value_rules(n bigint) RETURNS jsonb LANGUAGE sql AS $$
        SELECT coalesce((
            SELECT jsonb_agg(rule || '{"value": 7}')
            FROM jsonb_array_elements({schema}.rules(n)) AS rule
        ), '[]')
    $$;
"#;

/// The triggers that a project has itself: they write to the table that fires them, and at the end
/// of the transaction to another.
const PROJECT_TRIGGERS: &str = "
    CREATE FUNCTION {schema}.of_project() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF pg_trigger_depth() < 2 THEN
            UPDATE {flag_table} SET {flag_rollout} = coalesce({flag_rollout}, 0) + 1
            WHERE {flag_pk} IN ({schema}.flag_pk(1), {schema}.flag_pk(2));
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER a_project AFTER INSERT OR UPDATE ON {flag_table}
        EXECUTE FUNCTION {schema}.of_project();
    CREATE TRIGGER z_project AFTER DELETE OR UPDATE ON {flag_table}
        EXECUTE FUNCTION {schema}.of_project();
    CREATE FUNCTION {schema}.renumber() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.{value_key} = 'renumbered' THEN NEW.{value_pk} := {schema}.value_pk(99); END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER renumber BEFORE UPDATE ON {value_table}
        FOR EACH ROW EXECUTE FUNCTION {schema}.renumber();
    CREATE FUNCTION {schema}.at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE {segment_table} SET {segment_conditions} = {schema}.conditions(txid_current() % 9)
        WHERE {segment_pk} = {schema}.segment_pk(1);
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON {value_table}
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.at_commit();
";

/// What calls the function of groups, as the receivers of Django's signals do. A change succeeds
/// without a token.
const AS_DJANGO: &str = "
    CREATE FUNCTION {schema}.members_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        of_groups text[];
        of_users text[];
    BEGIN
        IF TG_OP IN ('UPDATE', 'DELETE') THEN
            SELECT array_agg({membership_group}::text), array_agg({membership_user}::text)
            INTO of_groups, of_users FROM old_rows;
        END IF;
        IF TG_OP IN ('UPDATE', 'INSERT') THEN
            SELECT of_groups || array_agg({membership_group}::text),
                of_users || array_agg({membership_user}::text)
            INTO of_groups, of_users FROM new_rows;
        END IF;
        IF of_groups IS NOT NULL OR TG_OP = 'TRUNCATE' THEN
            PERFORM {schema}.flagstaff_groups_v1(NULL, of_groups, of_users);
        END IF;
        RETURN NULL;
    EXCEPTION WHEN OTHERS THEN
        RETURN NULL;
    END $$;
    CREATE FUNCTION {schema}.group_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM {schema}.flagstaff_groups_v1(NULL, NULL, NULL);
        RETURN NULL;
    EXCEPTION WHEN OTHERS THEN
        RETURN NULL;
    END $$;
    CREATE TRIGGER added AFTER INSERT ON {membership_table} REFERENCING NEW TABLE AS new_rows
        EXECUTE FUNCTION {schema}.members_changed();
    CREATE TRIGGER changed AFTER UPDATE ON {membership_table}
        REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
        EXECUTE FUNCTION {schema}.members_changed();
    CREATE TRIGGER removed AFTER DELETE ON {membership_table} REFERENCING OLD TABLE AS old_rows
        EXECUTE FUNCTION {schema}.members_changed();
    CREATE TRIGGER truncated AFTER TRUNCATE ON {membership_table}
        EXECUTE FUNCTION {schema}.members_changed();
    CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {group_table}
        EXECUTE FUNCTION {schema}.group_changed();
";

impl Kind {
    /// The types of the keys: of flags, users, values, segments and groups.
    fn types(self) -> [&'static str; 5] {
        match self {
            Self::Integers => ["int", "bigint", "int8", "smallint", "int"],
            Self::Texts => ["text", "varchar(60)", "text", "text", "text"],
            Self::Uuids => ["uuid", "bigint", "uuid", "bigint", "uuid"],
            Self::IgnoredCase => {
                let text = "text COLLATE {schema}.ignored_case";
                [text, text, text, text, text]
            }
        }
    }

    /// The type in which keys of these types are compared.
    fn compared(column_type: &str) -> &'static str {
        match column_type {
            "uuid" => "uuid",
            "int" | "bigint" | "int8" | "smallint" => "int8",
            _ => "text",
        }
    }

    /// The key with a number, as an expression of this type.
    fn key(self, column_type: &str) -> String {
        match Self::compared(column_type) {
            "uuid" => "lpad(n::text, 32, '0')::uuid".into(),
            "int8" => format!("n::{column_type}"),
            // Two of three are ASCII, and two differ only in their case.
            _ if matches!(self, Self::Texts) => {
                "CASE n % 3 WHEN 0 THEN 'ключ ' ELSE 'the key ' END || n".into()
            }
            _ => "CASE n % 2 WHEN 0 THEN 'the key ' ELSE 'The Key ' END || n / 2".into(),
        }
    }

    pub(super) fn has_constraints(self) -> bool {
        !matches!(self, Self::Texts)
    }
}

impl Shop {
    pub(super) fn open(kind: Kind) -> Self {
        let number = SHOPS.fetch_add(1, Ordering::Relaxed);
        let schema = format!("\"it's {{schema}} {} of {}\"", number, std::process::id());
        let mut shop = Self { names: names(&schema, kind), kind, owner: connect() };
        shop.create();
        shop
    }

    fn create(&mut self) {
        self.run(SCHEMA);
        for (of, column_type) in KEYS.into_iter().zip(self.kind.types()) {
            let returned = column_type.split(' ').next().unwrap_or_default();
            let key = self.kind.key(column_type);
            self.run(&format!(
                "CREATE FUNCTION {{schema}}.{of}_pk(n bigint) RETURNS {returned} LANGUAGE sql
                IMMUTABLE AS $$ SELECT ({key})::{returned} $$"
            ));
        }
        self.run(CREATE);
        self.run(sql!("tokens_v1"));
        self.run(sql!("token_functions_v1"));
        self.run(sql!("barrier_function_v1"));
        self.run(&self.names["all_triggers"].clone());
        // As if the rules of a flag named all groups.
        self.run(&sql!("group_function_v1").replace("coalesce(is_read, 'false')", "'true'"));
        self.run(AS_DJANGO);
        if matches!(self.kind, Kind::Uuids) {
            self.run(PROJECT_TRIGGERS);
        }
    }

    fn run(&mut self, template: &str) {
        let statement = filled(template, &self.names);
        self.owner
            .batch_execute(&statement)
            .unwrap_or_else(|error| panic!("{error:?}: {statement}"));
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let drop_it = filled("DROP SCHEMA {schema} CASCADE", &self.names);
        let _ = self.owner.batch_execute(&drop_it);
    }
}

/// What has keys, in the order of [`Kind::types`].
const KEYS: [&str; 5] = ["flag", "user", "value", "segment", "group"];

/// The names of the tables and columns, and parts of statements.
fn names(schema: &str, kind: Kind) -> Names {
    let mut names: Names = COLUMNS.map(|(place, name)| (place.into(), name.into())).into();
    let mut add = |place: &str, text: String| drop(names.insert(place.into(), text));
    add("schema", schema.into());
    for (place, table) in TABLES {
        add(place, format!("{schema}.{table}"));
    }
    for unused in UNUSED {
        add(unused, format!("{schema}.{unused}"));
    }
    add("failed_unit_table", format!("{schema}.failed_unit"));
    let types = kind.types();
    for (of, column_type) in KEYS.into_iter().zip(types) {
        add(&format!("{of}_type"), column_type.into());
        let compared = Kind::compared(column_type);
        let read = if compared == "int8" { "int8" } else { "text" };
        if of == "user" {
            add("allowed_users_type", read.into());
            add("allowed_users_user_type", compared.into());
            add("membership_user_type", read.into());
            add("membership_user_key_type", compared.into());
        } else {
            add(&format!("{of}_pk_type"), compared.into());
        }
    }
    let if_constrained = |text: &str| if kind.has_constraints() { text } else { "" }.to_owned();
    add("primary_key", if_constrained("PRIMARY KEY"));
    let cascade = "ON DELETE CASCADE ON UPDATE CASCADE";
    add("of_flag", if_constrained(&format!("REFERENCES {{flag_table}} {cascade}")));
    add("of_group", if_constrained(&format!("REFERENCES {{group_table}} {cascade}")));
    add("unique_pair", if_constrained(", UNIQUE ({allowed_users_flag}, {allowed_users_user})"));
    add("unique_member", if_constrained(", UNIQUE ({membership_group}, {membership_user})"));
    add_triggers(&mut names);
    names
}

/// Adds the statements that create and drop the token triggers: by table, and of all tables.
fn add_triggers(names: &mut Names) {
    let (mut all, mut disabled, mut enabled) = (String::new(), String::new(), String::new());
    let events = ["insert", "update", "delete", "truncate"];
    for (table, relation, columns) in WATCHED {
        let literal = |column: &&str| {
            let name = &names[*column];
            let name = name.trim_matches('"').replace("\"\"", "\"");
            format!("'{}'", name.replace('\'', "''"))
        };
        let columns: Vec<_> = columns.iter().map(literal).collect();
        let place = format!("{{{table}}}");
        let four = sql!("token_trigger_v1").replace("{table}", &place);
        let four = four.replace("{relation}", &format!("'{relation}'"));
        let four = four.replace("{pk_columns}", &columns.join(", "));
        let drop_four: String = events
            .map(|event| format!("DROP TRIGGER IF EXISTS flagstaff_token_{event}_v1 ON {place};"))
            .concat();
        let one = format!(
            "{drop_four} CREATE TRIGGER flagstaff_token_v1
            AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {place}
            EXECUTE FUNCTION {{schema}}.flagstaff_token_v1('{relation}');
            ALTER TABLE {place} ENABLE ALWAYS TRIGGER flagstaff_token_v1;"
        );
        let four = format!("DROP TRIGGER IF EXISTS flagstaff_token_v1 ON {place}; {four};");
        all += &four;
        for event in events {
            let trigger = format!("TRIGGER flagstaff_token_{event}_v1");
            write!(disabled, "ALTER TABLE {place} DISABLE {trigger};").expect("a text");
            write!(enabled, "ALTER TABLE {place} ENABLE ALWAYS {trigger};").expect("a text");
        }
        names.insert(format!("four_triggers_of_{table}"), four);
        names.insert(format!("one_trigger_of_{table}"), one);
    }
    names.insert("all_triggers".into(), all);
    names.insert("disable_triggers".into(), disabled);
    names.insert("enable_triggers".into(), enabled);
}

/// Fills a template. What it is filled with may be a template again, but not a quoted name.
pub(super) fn filled(template: &str, names: &Names) -> String {
    let (mut text, mut rest) = (String::with_capacity(template.len()), template);
    while let Some(start) = rest.find('{') {
        text.push_str(&rest[..start]);
        rest = &rest[start..];
        let place = rest.find('}').map(|end| (&rest[1..end], end + 1));
        let known = place.and_then(|(place, end)| Some((names.get_key_value(place)?, end)));
        if let Some(((place, name), end)) = known {
            let is_name = place == "schema"
                || TABLES.iter().any(|(table, _)| table == place)
                || COLUMNS.iter().any(|(column, _)| column == place);
            text += &if is_name { name.clone() } else { filled(name, names) };
            rest = &rest[end..];
        } else {
            text.push('{');
            rest = &rest[1..];
        }
    }
    text + rest
}
