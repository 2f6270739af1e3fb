-- The sessions of workers with their application names. Every role may see the names and process
-- ids of all sessions, but not their queries.
-- The name is only "flagstaff" behind a pooler, where a session is shared, and of a worker that has
-- just connected.
SELECT pid, application_name
FROM pg_catalog.pg_stat_activity
WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
    AND (
        application_name OPERATOR(pg_catalog.~~) 'fs1 %'
        OR application_name OPERATOR(pg_catalog.=) 'flagstaff'
    )
ORDER BY pid
