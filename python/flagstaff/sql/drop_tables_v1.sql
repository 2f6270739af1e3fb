-- Takes back tokens_v1 and history_v1. CASCADE takes every trigger that still calls them along: left
-- behind on any table, it would stop all writes to it.
DROP FUNCTION IF EXISTS {schema}.flagstaff_row_history_v1() CASCADE;
DROP FUNCTION IF EXISTS {schema}.flagstaff_allowed_users_history_v1() CASCADE;
DROP FUNCTION IF EXISTS {schema}.flagstaff_digest_v1(jsonb, text) CASCADE;
DROP FUNCTION IF EXISTS {schema}.flagstaff_token_v1() CASCADE;
DROP FUNCTION IF EXISTS {schema}.flagstaff_barrier_v1() CASCADE;
DROP FUNCTION IF EXISTS {schema}.flagstaff_write_token_v1("char") CASCADE;
DROP TABLE IF EXISTS {change_table};
DROP TABLE IF EXISTS {token_table};
