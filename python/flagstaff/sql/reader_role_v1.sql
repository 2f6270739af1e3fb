-- A role for the engine: it may read what the engine reads, and nothing else.
-- Run it as the owner of the tables. The role cannot log in before it has a password: in psql,
-- \password {role}
BEGIN;

CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT
    CONNECTION LIMIT {connections};

-- Defaults, against slips. What it cannot do at all is a matter of the rights below.
ALTER ROLE {role} SET default_transaction_read_only = on;
ALTER ROLE {role} SET statement_timeout = '10s';
ALTER ROLE {role} SET lock_timeout = '500ms';
ALTER ROLE {role} SET idle_in_transaction_session_timeout = '10s';
-- No "$user": a schema of the role's name would come before the tables.
ALTER ROLE {role} SET search_path = {schemas};

GRANT CONNECT ON DATABASE {database} TO {role};
GRANT USAGE ON SCHEMA {schemas} TO {role};
GRANT SELECT ON
    {tables}
TO {role};

COMMIT;
