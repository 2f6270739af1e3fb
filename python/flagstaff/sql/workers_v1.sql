-- The sessions of workers with their application names, and whether a worker is of another project
-- with a token table of its own in this database. A worker of a table that no longer exists is not:
-- its table may have been replaced by this one, as in a restore.
-- Every role may see the names and process ids of all sessions, but not their queries.
-- The name is only "flagstaff" behind a pooler, where a session is shared, and of a worker that has
-- just connected.
SELECT
    session.pid,
    session.application_name,
    EXISTS (
        SELECT FROM pg_catalog.pg_class AS other
        WHERE other.relname OPERATOR(pg_catalog.=) 'flagstaff_token'
            AND other.relkind OPERATOR(pg_catalog.=) 'r'
            AND other.oid OPERATOR(pg_catalog.<>) pg_catalog.to_regclass(%s)::oid
            AND session.application_name OPERATOR(pg_catalog.^@)
                pg_catalog.concat('fs2 ', other.oid, ' ')
    ) AS of_another_project
FROM pg_catalog.pg_stat_activity AS session
WHERE session.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
    AND (
        session.application_name OPERATOR(pg_catalog.~) '^fs[0-9] '
        OR session.application_name OPERATOR(pg_catalog.=) 'flagstaff'
    )
ORDER BY session.pid
