-- A role for the engine, which can read the tables that it loads and nothing else.
-- Run this as the owner of the tables. Then set a password in psql: \password {role}
BEGIN;

CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT
    CONNECTION LIMIT {connections};

-- Defaults against mistakes. The privileges below are the actual limit.
ALTER ROLE {role} SET default_transaction_read_only = on;
ALTER ROLE {role} SET statement_timeout = '10s';
ALTER ROLE {role} SET lock_timeout = '500ms';
ALTER ROLE {role} SET idle_in_transaction_session_timeout = '10s';
-- Without "$user", because a schema with the name of the role would hide the tables.
ALTER ROLE {role} SET search_path = {schemas};

GRANT CONNECT ON DATABASE {database} TO {role};
GRANT USAGE ON SCHEMA {schemas} TO {role};
GRANT SELECT ON
    {tables}
TO {role};

COMMIT;
