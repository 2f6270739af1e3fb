//! A shop: tables with flags in a schema of their own, and workers that load them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use flagstaff::live::{EvaluationMode, Live};
use flagstaff::postgres::connect::parameters::Parameters;
use flagstaff::postgres::engine::{Engine, LOAD_TIMEOUT, Options};
use flagstaff::postgres::queries::Names;
use flagstaff::postgres::status::RefreshMode;
use flagstaff::snapshot::Snapshot;
use postgres::config::Host;
use postgres::{Client, NoTls};

/// Longer than any test, so that an earlier change was not polled.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);

/// For waits that end with their event, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// For a refresh that fails: it tries again until then.
pub(crate) const TRIES: Duration = Duration::from_secs(5);
/// For what must end at once. Less than the time in which a connect gives up.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(2);

static SHOPS: AtomicU32 = AtomicU32::new(0);

/// Waits until `condition` holds, and fails the test after a timeout.
#[track_caller]
pub(crate) fn eventually(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "the condition did not hold in time");
        sleep(Duration::from_millis(2));
    }
}

fn url() -> postgres::Config {
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL names a server");
    url.parse().expect("an address")
}

/// The server's connection parameters, as Django passes them.
pub(crate) fn parameters() -> Parameters {
    let url = url();
    let Some(Host::Tcp(host)) = url.get_hosts().first() else { panic!("a host is named") };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let given = [
        ("host", Some(host.clone())),
        ("port", url.get_ports().first().map(ToString::to_string)),
        ("user", url.get_user().map(str::to_owned)),
        ("password", url.get_password().map(text)),
        ("dbname", url.get_dbname().map(str::to_owned)),
    ];
    given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

pub(crate) fn connect() -> Client {
    url().connect(NoTls).expect("the server takes connections")
}

/// Names that need quotes, and must not be read as templates.
fn names(schema: &str, user_type: &str) -> Names {
    let names = [
        ("schema", schema.to_owned()),
        ("flag_table", format!("{schema}.\"the \"\"flags\"\"\"")),
        ("flag_pk", "id".to_owned()),
        ("flag_pk_type", "int8".to_owned()),
        ("flag_key", "\"Key\"".to_owned()),
        ("flag_enabled", "\"is on\"".to_owned()),
        ("flag_rollout", "\"{percent}\"".to_owned()),
        ("flag_client_side", "false".to_owned()),
        ("flag_rules", "\"the \"\"rules\"\"\"".to_owned()),
        ("flag_bucket_by", "'user'".to_owned()),
        ("allowed_users_table", format!("{schema}.\"allow'd\"")),
        ("allowed_users_flag", "flag_id".to_owned()),
        ("allowed_users_user", "\"user\"".to_owned()),
        ("allowed_users_type", user_type.to_owned()),
        ("allowed_users_user_type", user_type.to_owned()),
        ("value_table", format!("{schema}.\"{{flag_table}}\"")),
        ("value_pk", "id".to_owned()),
        ("value_pk_type", "uuid".to_owned()),
        ("value_key", "key".to_owned()),
        ("value_value", "\"value\"".to_owned()),
        ("value_secret", "false".to_owned()),
        ("value_client_side", "false".to_owned()),
        ("value_rules", "'[]'::jsonb".to_owned()),
        ("value_bucket_by", "'user'".to_owned()),
        ("segment_table", format!("{schema}.\"Segment\"")),
        ("segment_pk", "id".to_owned()),
        ("segment_pk_type", "int8".to_owned()),
        ("segment_key", "key".to_owned()),
        ("segment_conditions", "\"{conditions}\"".to_owned()),
        ("token_table", format!("{schema}.flagstaff_token")),
        ("change_table", format!("{schema}.flagstaff_change")),
        ("usage_table", format!("{schema}.flagstaff_usage")),
        ("report_table", format!("{schema}.flagstaff_report")),
        ("worker_table", format!("{schema}.flagstaff_worker")),
        ("echo_table", format!("{schema}.flagstaff_echo")),
        ("worker_function", format!("{schema}.flagstaff_worker_v1")),
    ];
    names.into_iter().map(|(place, name)| (place.to_owned(), name)).collect()
}

const TABLES: &str = "
    CREATE TABLE {flag_table} (
        {flag_pk} bigint, {flag_key} text, {flag_enabled} boolean, {flag_rollout} numeric,
        {flag_rules} jsonb NOT NULL DEFAULT '[]'
    );
    CREATE TABLE {allowed_users_table} ({allowed_users_flag} bigint, {allowed_users_user} {user_column});
    CREATE TABLE {value_table} ({value_pk} uuid DEFAULT gen_random_uuid(), {value_key} text,
        {value_value} jsonb);
";

pub(crate) const SEGMENTS: &str = "CREATE TABLE {segment_table} (
    {segment_pk} bigint, {segment_key} text, {segment_conditions} jsonb
)";

/// The tables with their relations and the columns of their keys.
const RELATIONS: [(&str, char, &str); 4] = [
    ("flag_table", 'f', "id"),
    ("allowed_users_table", 'm', "flag_id, user"),
    ("value_table", 'k', "id"),
    ("segment_table", 's', "id"),
];
const TRIGGERS: &str = include_str!("../../python/flagstaff/sql/token_trigger_v1.sql");

pub(crate) const TOKENS: &str = concat!(
    include_str!("../../python/flagstaff/sql/tokens_v1.sql"),
    include_str!("../../python/flagstaff/sql/token_functions_v1.sql"),
    include_str!("../../python/flagstaff/sql/workers_table_v1.sql"),
    include_str!("../../python/flagstaff/sql/echo_table_v1.sql"),
    include_str!("../../python/flagstaff/sql/worker_function_v1.sql"),
    "ALTER TABLE {token_table} DROP CONSTRAINT flagstaff_token_relation_check;",
);

/// Tables with flags in a schema of their own, which is dropped with the shop.
pub(crate) struct Shop {
    pub(crate) names: Names,
    pub(crate) session: Client,
    pub(crate) application: String,
}

impl Shop {
    /// A shop with triggers, whose users have integers.
    pub(crate) fn open() -> Self {
        Self::with_triggers("bigint")
    }

    pub(crate) fn with_text_users() -> Self {
        Self::with_triggers("text")
    }

    fn with_triggers(user_column: &str) -> Self {
        let mut shop = Self::without_triggers(user_column);
        for (table, relation, columns) in RELATIONS {
            let triggers = TRIGGERS.replace("{table}", &format!("{{{table}}}"));
            let triggers = triggers.replace("{relation}", &format!("'{relation}'"));
            shop.run(&triggers.replace("{pk_columns}", columns));
        }
        shop
    }

    /// Lets a table write tokens that name no rows.
    pub(crate) fn trigger(&mut self, table: &str, relation: char) {
        self.run(&format!(
            "CREATE TRIGGER flagstaff_token_v1 AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
            ON {table} EXECUTE FUNCTION {{schema}}.flagstaff_token_v1('{relation}');
            ALTER TABLE {table} ENABLE ALWAYS TRIGGER flagstaff_token_v1"
        ));
    }

    /// A shop whose database is not migrated yet: its flags have no rules.
    pub(crate) fn without_triggers(user_column: &str) -> Self {
        let mut shop = Self::empty(if user_column == "text" { "text" } else { "int8" });
        shop.run(&TABLES.replace("{user_column}", user_column));
        shop.run(SEGMENTS);
        shop.run(TOKENS);
        shop
    }

    /// A schema without tables.
    pub(crate) fn empty(user_type: &str) -> Self {
        let number = SHOPS.fetch_add(1, Ordering::Relaxed);
        let application = format!("worker-{}-of-{}", number, std::process::id());
        let schema = format!("\"it's {{schema}} of {application}\"");
        let mut session = connect();
        session.batch_execute(&format!("CREATE SCHEMA {schema}")).expect("a new schema");
        Self { names: names(&schema, user_type), session, application }
    }

    pub(crate) fn filled(&self, template: &str) -> String {
        filled(template, &self.names)
    }

    #[track_caller]
    pub(crate) fn run(&mut self, template: &str) {
        let statement = self.filled(template);
        self.session.batch_execute(&statement).expect(&statement);
    }

    #[track_caller]
    pub(crate) fn flag(&mut self, pk: i64, key: &str, percent: i32) {
        self.run(&format!("INSERT INTO {{flag_table}} VALUES ({pk}, '{key}', true, {percent})"));
    }

    #[track_caller]
    pub(crate) fn set_rollout(&mut self, key: &str, percent: i32) {
        self.run(&format!(
            "UPDATE {{flag_table}} SET {{flag_rollout}} = {percent} WHERE {{flag_key}} = '{key}'"
        ));
    }

    #[track_caller]
    pub(crate) fn allow(&mut self, flag: i64, user: &str) {
        self.run(&format!("INSERT INTO {{allowed_users_table}} VALUES ({flag}, {user})"));
    }

    #[track_caller]
    pub(crate) fn value(&mut self, key: &str, json: &str) {
        self.run(&format!(
            "DELETE FROM {{value_table}} WHERE {{value_key}} = '{key}';
            INSERT INTO {{value_table}} ({{value_key}}, {{value_value}}) VALUES ('{key}', '{json}')"
        ));
    }

    #[track_caller]
    pub(crate) fn segment(&mut self, pk: i64, key: &str) {
        self.run(&format!("INSERT INTO {{segment_table}} VALUES ({pk}, '{key}', '[]')"));
    }

    /// Waits until the worker has loaded the newest change. A later load of everything would hide what
    /// this one has missed.
    #[track_caller]
    pub(crate) fn until_loaded(&mut self, worker: &Worker) {
        let newest = self.filled("SELECT max(id) FROM {token_table}");
        let newest: i64 = self.session.query_one(&newest, &[]).expect("the newest token").get(0);
        eventually(|| worker.snapshot().token_set().is_some_and(|set| set.newest() >= newest));
    }

    /// Runs a statement, and waits until the worker has loaded the change.
    #[track_caller]
    pub(crate) fn run_and_load(&mut self, worker: &Worker, template: &str) {
        self.run(template);
        self.until_loaded(worker);
    }

    /// A second connection of the shop.
    pub(crate) fn other_session(&self) -> Session {
        Session { names: self.names.clone(), client: connect() }
    }

    pub(crate) fn options(&self) -> Options {
        Self::options_of(&self.names, &self.application)
    }

    /// The options of a worker that reads tables with these names.
    pub(crate) fn options_of(names: &Names, application: &str) -> Options {
        let mut parameters = parameters();
        parameters.insert("application_name".into(), application.into());
        Options {
            parameters,
            names: names.clone(),
            listen: true,
            poll_interval: NEVER,
            load_timeout: LOAD_TIMEOUT,
            pool_size: 2,
            pool_idle: Duration::ZERO,
            max_staleness: NEVER,
            usage_interval: Duration::ZERO,
            measure_interval: Duration::from_millis(50),
            host: application.into(),
            release: String::new(),
            report_parameters: None,
            region: String::new(),
            on_event: || {},
        }
    }

    /// A loaded worker that learns of changes by notification only.
    pub(crate) fn worker(&self) -> Worker {
        Worker::loaded(&self.options())
    }

    /// A loaded worker that learns of no change by itself.
    pub(crate) fn worker_without_notifications(&self) -> Worker {
        Worker::loaded(&Options { listen: false, ..self.options() })
    }

    /// The number of connections of this shop's workers.
    pub(crate) fn connections(&mut self) -> i64 {
        let count = "SELECT count(*) FROM pg_stat_activity
            WHERE application_name = $1 OR application_name LIKE 'flagstaff % ' || $1";
        self.session.query_one(count, &[&self.application]).expect("a count").get(0)
    }

    /// Waits until this is the number of connections.
    #[track_caller]
    pub(crate) fn until_connections(&mut self, count: i64) {
        let deadline = Instant::now() + PATIENCE;
        while self.connections() != count {
            assert!(Instant::now() < deadline, "{} connections", self.connections());
        }
    }

    /// Terminates the connections of this shop's workers, as an administrator may.
    pub(crate) fn terminate_connections(&mut self) {
        let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = $1 OR application_name LIKE 'flagstaff % ' || $1";
        self.session.query(terminate, &[&self.application]).expect("an administrator");
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let drop_it = self.filled("ROLLBACK; DROP SCHEMA {schema} CASCADE");
        let _ = self.session.batch_execute(&drop_it);
    }
}

pub(crate) struct Session {
    names: Names,
    client: Client,
}

impl Session {
    #[track_caller]
    pub(crate) fn run(&mut self, template: &str) {
        let statement = filled(template, &self.names);
        self.client.batch_execute(&statement).expect(&statement);
    }
}

fn filled(template: &str, names: &HashMap<String, String>) -> String {
    let mut text = template.to_owned();
    // The names contain braces, so each placeholder is marked before it is filled.
    for place in names.keys() {
        text = text.replace(&format!("{{{place}}}"), &format!("\u{1}{place}\u{2}"));
    }
    for (place, name) in names {
        text = text.replace(&format!("\u{1}{place}\u{2}"), name);
    }
    text
}

/// One worker: its snapshot, and the engine that keeps it up to date.
pub(crate) struct Worker {
    pub(crate) live: &'static Live,
    pub(crate) engine: Arc<Engine>,
}

impl Worker {
    pub(crate) fn start(options: &Options) -> Self {
        let live: &'static Live = Box::leak(Box::new(Live::new()));
        live.set_mode(EvaluationMode::Memory, false);
        let engine = Arc::new(Engine::start(options, live).expect("usable parameters"));
        Self { live, engine }
    }

    #[track_caller]
    pub(crate) fn loaded(options: &Options) -> Self {
        let worker = Self::start(options);
        eventually(|| worker.live.snapshot().is_some());
        eventually(|| {
            !matches!(worker.engine.status().mode, RefreshMode::Starting | RefreshMode::Down)
        });
        worker
    }

    pub(crate) fn mode(&self) -> RefreshMode {
        self.engine.status().mode
    }

    #[track_caller]
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.live.snapshot().expect("it is loaded")
    }

    pub(crate) fn percent(&self, key: &str) -> Option<i32> {
        self.live.snapshot()?.flag(key).map(|flag| flag.rollout_percent)
    }

    pub(crate) fn schema_problems(&self) -> Vec<String> {
        self.engine.status().schema_problems.iter().map(ToString::to_string).collect()
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        self.snapshot().problems().map(ToString::to_string).collect()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.engine.stop(PATIENCE, &mut || false);
    }
}
