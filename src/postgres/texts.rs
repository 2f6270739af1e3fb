//! The messages about a worker and its database.

use crate::message::{Template, templates};

templates! {
    // Errors. The step is what the worker did, and the details are the database's own words.
    PARAMETERS, "{step}: the connection parameters cannot be used{details}";
    CONNECT, "{step}: the server cannot be reached{details}";
    RESOURCES,
        "{step}: the process cannot start a thread or open a descriptor, see ulimit -u, ulimit \
         -n, and the pids limit of its container{details}";
    TLS, "{step}: the connection cannot be protected as it should be: {problem}{details}";
    LOGIN, "{step}: the log-in was refused: {problem}{details}";
    REFUSED,
        "{step}: the server refused the connection, see OPTIONS in DATABASES and the server's \
         log{details}";
    MISSING, "{step}: a table or column is missing, run \"manage.py migrate\"{details}";
    PERMISSION, "{step}: the role may not read a table, GRANT SELECT on it{details}";
    ROW_SECURITY,
        "{step}: row level security can hide rows, ALTER TABLE ... DISABLE ROW LEVEL SECURITY, or \
         ALTER ROLE ... BYPASSRLS for the role{details}";
    ENCODING,
        "{step}: the encoding of the database is not UTF8, restore a dump of it into a database \
         that was created with ENCODING 'UTF8'{details}";
    LOCKED, "{step}: a table is locked by another session{details}";
    DEADLINE, "{step}: the server did not answer in time{details}";
    LOST, "{step}: the connection was lost{details}";
    ROLE, "{step}: no server has the role that target_session_attrs requires{details}";
    BEHIND, "{step}: the standby is behind, see MAX_STALENESS{details}";
    QUERY, "{step}: the server refused a statement{details}";
    STATEMENT_POOLING,
        "{step}: PgBouncer is in statement mode, set its pool_mode to session or transaction\
         {details}";
    // Why a log-in was refused.
    PASSWORD,
        "USER or PASSWORD in DATABASES is wrong, or the role's password has expired (VALID UNTIL) \
         or is stored for another method than that of pg_hba.conf";
    NO_PASSWORD, "the server asks for a password, see PASSWORD in DATABASES";
    METHOD,
        "the server asks for a method that the engine does not support, such as GSSAPI or OAuth, \
         allow scram-sha-256 or cert in pg_hba.conf";
    OTHER_METHOD,
        "pg_hba.conf asks for a method such as LDAP, PAM or cert, which refused USER, see the \
         server's log";
    NO_RULE,
        "pg_hba.conf does not admit this USER, database, address or encryption, or requires a \
         client certificate, see sslmode and sslcert";
    NO_LOGIN,
        "there is no such role, or it may not log in, see USER in DATABASES, or ALTER ROLE ... \
         LOGIN";
    MAY_NOT_CONNECT, "the role may not connect to the database, GRANT CONNECT ON DATABASE to it";
    NO_DATABASE, "there is no such database, see NAME in DATABASES";
    CLOSED_DATABASE,
        "the database admits no connections, ALTER DATABASE ... ALLOW_CONNECTIONS true";
    ROLE_FULL, "the role has no connection left, see its CONNECTION LIMIT";
    DATABASE_FULL, "the database has no connection left, see its CONNECTION LIMIT";
    SERVER_FULL, "the server has no connection left, see its max_connections";
    NOT_READY,
        "the server is starting, stopping or recovering, or is a standby with hot_standby off; \
         workers retry";
    ITERATIONS,
        "the password has more than 100,000 SCRAM iterations, set it again with a lower \
         scram_iterations";
    // Why a connection cannot be protected.
    NO_TLS, "the server offers no TLS, see sslmode";
    NOT_BOUND, "the log-in was not bound to TLS, see channel_binding";
    CLIENT_CERTIFICATE, "the server does not accept the client's certificate, see sslcert";
    TLS_VERSION, "the server supports no accepted version of TLS, see ssl_min_protocol_version";
    NO_DIRECT_TLS, "the server does not support a direct handshake, see sslnegotiation";
    HANDSHAKE, "the handshake failed";
    UNKNOWN_ISSUER, "the server's certificate is not signed by one of sslrootcert";
    OTHER_HOST,
        "the server's certificate does not name HOST among its alternative names, see HOST, or \
         sslmode if that is known";
    EXPIRED, "the server's certificate has expired";
    NOT_VALID_YET, "the server's certificate is not valid yet";
    AUTHORITY, "the server's certificate is an authority's own, and not one of sslrootcert";
    UNSUPPORTED_CERTIFICATE,
        "the server's certificate is of an unsupported kind, such as X.509 version 1";
    NO_SERVER_CERTIFICATE, "the server's certificate is not one for a server";
    // Why the mode is not live.
    NO_TOKEN_TABLE, "there is no table flagstaff_token";
    NO_TRIGGER, "a table has no token trigger, or it is not ENABLE ALWAYS";
    NO_TRIGGERS_ON, "a table has no token trigger, or it is not ENABLE ALWAYS: {tables}";
    REPLACED_FUNCTIONS, "a function of the token triggers was replaced: {names}";
    REPLICATED, "the tables are replicated without flagstaff_token";
    REPLICATED_APART,
        "the subscription with flagstaff_token lacks other tables, add them to its publication: \
         {tables}";
    SUBSCRIPTION_DISABLED, "the subscription {name} is disabled, ALTER SUBSCRIPTION ... ENABLE";
    COPYING, "the first copy of a table is not finished: {tables}";
    SUBSCRIPTION_HIDDEN,
        "the server does not say by which subscription the tables arrive, GRANT SELECT (oid, \
         subname, subenabled) ON pg_subscription";
    NOT_NOTIFIED,
        "the rows arrive by logical replication, and flagstaff_token has no trigger that notifies, \
         run \"manage.py migrate\"";
    LISTEN_OFF, "LISTEN is False";
    POOLER, "a connection pooler is in between";
    STANDBY, "the server is a standby";
    LISTEN_REFUSED, "the server refused LISTEN";
    // Why nothing arrives from the primary.
    PAUSED, "the standby has paused its replay, SELECT pg_wal_replay_resume()";
    NO_RECEIVER, "the standby receives nothing, see primary_conninfo and the server's log";
    NOT_REPLAYED, "the standby has received changes that it has not replayed";
    NOT_APPLIED, "changes could not be applied, see the log of the subscriber";
    NO_APPLY_WORKER, "no apply worker runs for the subscription, see the log of the subscriber";
    NO_CAUSE, "the server names no cause, see the servers between it and the primary";
    // Why it is not known whether changes arrive.
    NO_ECHO, "no worker at the primary writes flagstaff_echo";
    NO_ECHO_TABLE, "there is no table flagstaff_echo, run \"manage.py migrate\"";
    MAY_NOT_READ_ECHO, "the role may not read flagstaff_echo, GRANT SELECT on it";
    ECHO_NOT_PUBLISHED,
        "flagstaff_echo is not in the subscription of flagstaff_token, add it to the publication";
    // Why something that a worker collects is not written.
    MAY_NOT_WRITE, "the role may not write the tables, GRANT SELECT, INSERT, UPDATE on them to it";
    TABLE_MISSING, "a table is missing, run \"manage.py migrate\"";
    MAY_NOT_REPORT,
        "the role may not call flagstaff_worker_v1, GRANT EXECUTE ON FUNCTION flagstaff_worker_v1 \
         to it";
    NO_REGISTER, "there is no function flagstaff_worker_v1, run \"manage.py migrate\"";
    READ_ONLY, "the connection is read-only, connect to the primary with a role that may write";
    USAGE_OFF, "USAGE_INTERVAL is 0";
    UNNOTICED,
        "a full load has found changes that no change token had named ({number}, such as {row}): \
         run \"manage.py check --database\"";
    // Changes that are gone, and what may have happened.
    LOST_CHANGES,
        "the database lacks changes that it had before (token {before} → {now}): {cause}; {flags}";
    PROMOTED, "a failover that lost commits, or a restore (timeline {before} → {now})";
    TWO_PRIMARIES,
        "an older primary is back, so there may be two (timeline {before} → {now}), stop one of them";
    OTHER_SYSTEM,
        "the server is another one, such as one from a dump (system identifier {before} → {now})";
    RESTORED, "a restore, tables that were emptied, or a crash that lost commits";
    GONE_BACK, "a failover that lost commits, a restore, or two primaries";
    NO_FLAG_DIFFERS, "no flag differs from before";
    FLAGS_DIFFER, "flags that differ from before: {flags}";
    MANY_FLAGS_DIFFER, "flags that differ from before: {flags} and {count} more";
    // Problems of this worker.
    MORE_PROBLEMS, "{count} more problems";
    UNGUARDED,
        "the rollout plan of {flag} is unguarded, because run-jobs has not watched it for \
         about five minutes: run \"manage.py flags run-jobs\" to watch it now, or to see the \
         error";
    UNREGISTERED,
        "this worker does not report, so \"flags workers\" cannot say what it has applied: {problem}";
    SILENT,
        "nothing has arrived from the primary for too long, so changes such as a kill may be missing: \
         {problem}";
    AGE_UNKNOWN, "it is not known how old the flags are: {problem}";
    COUNTS, "this worker cannot write the counts of rollout plans: {problem}";
    EXPOSURES, "this worker cannot write the exposures of experiments: {problem}";
    ENTRIES_MISSING,
        "{changes} no entry in the history, the last at {time}: the server's log says why, in \
         lines with \"flagstaff: no history\". To end this report, run \"UPDATE flagstaff_token \
         SET entry_missing = false\"";
    CHANGE_HAS, "1 recent change has";
    CHANGES_HAVE, "{count} recent changes have";
}
