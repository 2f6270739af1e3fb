-- The sessions of workers, each with what it calls itself. Every role may see the names and the
-- process ids of all sessions, though not what they do.
-- Behind a pooler a session is not one worker's, and its name says no more than "flagstaff"; so
-- does that of a worker which has just connected.
SELECT pid, application_name
FROM pg_catalog.pg_stat_activity
WHERE datname = pg_catalog.current_database()
    AND (application_name LIKE 'fs1 %' OR application_name = 'flagstaff'::text)
ORDER BY pid
