//! The messages about a worker and its database. Python has the same, with their translations.

use crate::message::{Template, templates};

templates! {
    // Errors. The step is what the worker did, and the details are the database's own words.
    PARAMETERS, "error_of_parameters",
        "%(step)s: the connection parameters cannot be used%(details)s";
    CONNECT, "error_of_connect", "%(step)s: the server cannot be reached%(details)s";
    RESOURCES, "error_of_resources",
        "%(step)s: the process cannot start a thread or open a descriptor, see ulimit -u, ulimit \
         -n, and the pids limit of its container%(details)s";
    TLS, "error_of_tls",
        "%(step)s: the connection cannot be protected as it should be: %(problem)s%(details)s";
    LOGIN, "error_of_login", "%(step)s: the log-in was refused: %(problem)s%(details)s";
    REFUSED, "error_of_refusal",
        "%(step)s: the server refused the connection, see OPTIONS in DATABASES and the server's \
         log%(details)s";
    MISSING, "error_of_missing_table",
        "%(step)s: a table or column is missing, run \"manage.py migrate\"%(details)s";
    PERMISSION, "error_of_permission",
        "%(step)s: the role may not read a table, GRANT SELECT on it%(details)s";
    ROW_SECURITY, "error_of_row_security",
        "%(step)s: row level security can hide rows, ALTER TABLE ... DISABLE ROW LEVEL SECURITY, \
         or ALTER ROLE ... BYPASSRLS for the role%(details)s";
    LOCKED, "error_of_lock", "%(step)s: a table is locked by another session%(details)s";
    DEADLINE, "error_of_deadline", "%(step)s: the server did not answer in time%(details)s";
    LOST, "error_of_lost_connection", "%(step)s: the connection was lost%(details)s";
    ROLE, "error_of_server_role",
        "%(step)s: no server has the role that target_session_attrs requires%(details)s";
    BEHIND, "error_of_standby", "%(step)s: the standby is behind, see MAX_STALENESS%(details)s";
    QUERY, "error_of_statement", "%(step)s: the server refused a statement%(details)s";
    // Why a log-in was refused.
    PASSWORD, "login_password",
        "USER or PASSWORD in DATABASES is wrong, or the role's password has expired (VALID UNTIL) \
         or is stored for another method than that of pg_hba.conf";
    NO_PASSWORD, "login_without_password",
        "the server asks for a password, see PASSWORD in DATABASES";
    METHOD, "login_method",
        "the server asks for a method that the engine does not support, such as GSSAPI or OAuth, \
         allow scram-sha-256 or cert in pg_hba.conf";
    OTHER_METHOD, "login_other_method",
        "pg_hba.conf asks for a method such as LDAP, PAM or cert, which refused USER, see the \
         server's log";
    NO_RULE, "login_without_rule",
        "pg_hba.conf does not admit this USER, database, address or encryption, or requires a \
         client certificate, see sslmode and sslcert";
    NO_LOGIN, "login_of_role",
        "there is no such role, or it may not log in, see USER in DATABASES, or ALTER ROLE ... \
         LOGIN";
    MAY_NOT_CONNECT, "login_not_permitted",
        "the role may not connect to the database, GRANT CONNECT ON DATABASE to it";
    NO_DATABASE, "login_without_database", "there is no such database, see NAME in DATABASES";
    CLOSED_DATABASE, "login_closed_database",
        "the database admits no connections, ALTER DATABASE ... ALLOW_CONNECTIONS true";
    ROLE_FULL, "login_role_full",
        "the role has no connection left, see its CONNECTION LIMIT";
    DATABASE_FULL, "login_database_full",
        "the database has no connection left, see its CONNECTION LIMIT";
    SERVER_FULL, "login_server_full",
        "the server has no connection left, see its max_connections";
    NOT_READY, "login_too_early",
        "the server is starting, stopping or recovering, or is a standby with hot_standby off; \
         workers retry";
    ITERATIONS, "login_scram_iterations",
        "the password has more than 100,000 SCRAM iterations, set it again with a lower \
         scram_iterations";
    // Why a connection cannot be protected.
    NO_TLS, "tls_not_offered", "the server offers no TLS, see sslmode";
    NOT_BOUND, "tls_not_bound", "the log-in was not bound to TLS, see channel_binding";
    CLIENT_CERTIFICATE, "tls_client_certificate",
        "the server does not accept the client's certificate, see sslcert";
    TLS_VERSION, "tls_version",
        "the server supports no accepted version of TLS, see ssl_min_protocol_version";
    NO_DIRECT_TLS, "tls_not_direct",
        "the server does not support a direct handshake, see sslnegotiation";
    HANDSHAKE, "tls_handshake_failed", "the handshake failed";
    UNKNOWN_ISSUER, "tls_unknown_issuer",
        "the server's certificate is not signed by one of sslrootcert";
    OTHER_HOST, "tls_other_host",
        "the server's certificate does not name HOST among its alternative names, see HOST, or \
         sslmode if that is known";
    EXPIRED, "tls_expired", "the server's certificate has expired";
    NOT_VALID_YET, "tls_not_valid_yet", "the server's certificate is not valid yet";
    AUTHORITY, "tls_authority",
        "the server's certificate is an authority's own, and not one of sslrootcert";
    UNSUPPORTED_CERTIFICATE, "tls_unsupported_certificate",
        "the server's certificate is of an unsupported kind, such as X.509 version 1";
    NO_SERVER_CERTIFICATE, "tls_no_server_certificate",
        "the server's certificate is not one for a server";
    // Why the mode is not live.
    NO_TOKEN_TABLE, "reload_without_table", "there is no table flagstaff_token";
    NO_TRIGGER, "reload_without_trigger",
        "a table has no token trigger, or it is not ENABLE ALWAYS";
    NO_TRIGGERS_ON, "reload_without_triggers",
        "a table has no token trigger, or it is not ENABLE ALWAYS: %(tables)s";
    REPLACED_FUNCTIONS, "reload_with_other_functions",
        "a function of the token triggers was replaced: %(names)s";
    REPLICATED, "reload_with_replication", "the tables are replicated without flagstaff_token";
    LISTEN_OFF, "poll_by_setting", "LISTEN is False";
    POOLER, "poll_behind_pooler", "a connection pooler is in between";
    STANDBY, "poll_of_standby", "the server is a standby";
    LISTEN_REFUSED, "poll_without_listen", "the server refused LISTEN";
    // Why something that a worker collects is not written.
    MAY_NOT_WRITE, "flush_not_permitted",
        "the role may not write the tables, GRANT SELECT, INSERT, UPDATE on them to it";
    TABLE_MISSING, "flush_without_table", "a table is missing, run \"manage.py migrate\"";
    READ_ONLY, "flush_read_only",
        "the connection is read-only, connect to the primary with a role that may write";
    USAGE_OFF, "usage_disabled", "USAGE_INTERVAL is 0";
    // What is missing in the schema.
    FORBIDDEN, "table_forbidden",
        "the role may not read %(table)s, so %(effect)s: GRANT SELECT on it";
    NO_TABLE, "table_missing",
        "there is no table %(table)s, so %(effect)s: run \"manage.py migrate\"";
    NO_COLUMN, "column_missing",
        "%(table)s has no column %(column)s, so %(effect)s: run \"manage.py migrate\"";
    GROUP_TRIGGER, "group_trigger_missing",
        "a trigger of groups on %(tables)s is missing or disabled, so a change of a group is seen \
         up to five minutes late: run \"manage.py check --database\"";
    UNNOTICED, "changes_without_token",
        "a full load has found changes that no change token had named (%(number)s, such as \
         %(row)s): run \"manage.py check --database\"";
    NO_RULES, "flags_without_rules", "flags have no rules";
    BY_USER, "flags_bucketed_by_user", "flags are bucketed by user";
    NO_VALUE_RULES, "values_without_rules", "values have no rules";
    VALUES_BY_USER, "values_bucketed_by_user", "values are bucketed by user";
    NO_VALUES_FOR_BROWSERS, "values_not_for_browsers", "browsers get no values";
    NO_SECRETS, "secrets_not_masked", "listeners see secret values";
    NO_SEGMENTS, "rules_without_segments", "rules find no segments";
    NO_PLANS, "plans_not_measured", "rollout plans measure nothing";
    NO_EXPERIMENTS, "experiments_not_loaded", "experiments give the default of the call";
    // Problems of this worker.
    UNGUARDED, "plan_unguarded",
        "the rollout plan of flag %(key)s is unguarded, because run-jobs has not watched it for \
         about five minutes: run \"manage.py flags run-jobs\" to watch it now, or to see the error";
    COUNTS, "counts_not_written",
        "this worker cannot write the counts of rollout plans: %(problem)s";
    EXPOSURES, "exposures_not_written",
        "this worker cannot write the exposures of experiments: %(problem)s";
    ENTRIES_MISSING, "entries_missing",
        "%(changes)s no entry in the history, the last at %(time)s: the server's log says why, in \
         lines with \"flagstaff: no history\". To end this report, run \"UPDATE flagstaff_token SET \
         entry_missing = false\"";
    CHANGE_HAS, "recent_change_has", "1 recent change has";
    CHANGES_HAVE, "recent_changes_have", "%(count)s recent changes have";
    // Why an impact cannot be counted.
    NOT_COUNTED, "users_not_counted", "the users cannot be counted: %(why)s";
    UNREADABLE_RULES, "impact_of_unreadable_rules",
        "the rules of flag %(key)s cannot be read: %(problem)s";
    UNREADABLE_VALUE_RULES, "impact_of_unreadable_value_rules",
        "the rules of value %(key)s cannot be read: %(problem)s";
}
