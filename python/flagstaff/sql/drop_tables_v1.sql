-- Drops all tables and functions.
-- CASCADE also drops every trigger that calls the functions: left on a table, such a trigger would
-- make all writes to it fail.
-- Workers that still run cannot write their reports, and log it once.
DROP FUNCTION IF EXISTS {schema}.flagstaff_row_history_v1() CASCADE;
DROP FUNCTION IF EXISTS {schema}.flagstaff_allowed_users_history_v1() CASCADE;
DROP FUNCTION IF EXISTS {schema}.flagstaff_groups_v1(text[], text[], text[]);
DROP FUNCTION IF EXISTS {schema}.flagstaff_hidden_v1(jsonb, jsonb, text[]) CASCADE;
DROP FUNCTION IF EXISTS {schema}.flagstaff_token_v1() CASCADE;
DROP FUNCTION IF EXISTS {schema}.flagstaff_arrived_v1() CASCADE;
DROP FUNCTION IF EXISTS {schema}.flagstaff_barrier_v1() CASCADE;
DROP FUNCTION IF EXISTS {schema}.flagstaff_write_token_v1("char", text[]) CASCADE;
DROP FUNCTION IF EXISTS {schema}.flagstaff_worker_v1(
    text, text, bigint, bigint, text, bigint, bigint, boolean, double precision, text, boolean, text,
    bigint
);
DROP TABLE IF EXISTS {report_table};
DROP TABLE IF EXISTS {echo_table};
DROP TABLE IF EXISTS {worker_table};
DROP TABLE IF EXISTS {usage_table};
DROP TABLE IF EXISTS {change_table};
DROP TABLE IF EXISTS {token_table};
