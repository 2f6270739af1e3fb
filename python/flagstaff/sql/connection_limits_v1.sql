-- The limits on connections that apply to this session: of the server, of its role and of its
-- database. A superuser is exempt from the last two. Each limit has the connections that count
-- against it: of workers, of Django, which are those of the given databases and roles, and of
-- others. The last column is this session. The limit of the server comes first.
-- Every role may see the database, role and name of all sessions. The type is NULL for sessions of
-- other roles, which are counted as clients. The servers of replication have limits of their own.
WITH session AS (
    SELECT
        activity.datid,
        activity.usesysid,
        activity.application_name OPERATOR(pg_catalog.~) '^fs[0-9] '
            OR activity.application_name OPERATOR(pg_catalog.=) 'flagstaff' AS is_worker,
        EXISTS (
            SELECT FROM ROWS FROM (
                pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::text[])
            ) AS own (datname, usename)
            WHERE activity.datname::text OPERATOR(pg_catalog.=)
                    coalesce(own.datname, pg_catalog.current_database()::text)
                AND activity.usename::text OPERATOR(pg_catalog.=)
                    coalesce(own.usename, session_user::text)
        ) AS is_django
    FROM pg_catalog.pg_stat_activity AS activity
    WHERE activity.datid IS NOT NULL
        AND activity.usesysid IS NOT NULL
        AND coalesce(activity.backend_type, 'client backend') OPERATOR(pg_catalog.=)
            'client backend'
),
connection_limit AS (
    SELECT
        'server' AS kind,
        '' AS name,
        pg_catalog.current_setting('max_connections')::integer AS setting,
        pg_catalog.current_setting('superuser_reserved_connections')::integer
            -- From PostgreSQL 16 on.
            OPERATOR(pg_catalog.+) coalesce(
                pg_catalog.current_setting('reserved_connections', true)::integer, 0
            ) AS reserved,
        NULL::oid AS datid,
        NULL::oid AS usesysid
    UNION ALL
    SELECT 'role', r.rolname::text, r.rolconnlimit, 0, NULL, r.oid
    FROM pg_catalog.pg_roles AS r
    WHERE r.rolname::text OPERATOR(pg_catalog.=) session_user::text
        AND r.rolconnlimit OPERATOR(pg_catalog.>=) 0
        AND NOT r.rolsuper
    UNION ALL
    SELECT 'database', d.datname::text, d.datconnlimit, 0, d.oid, NULL
    FROM pg_catalog.pg_database AS d
    JOIN pg_catalog.pg_roles AS r ON r.rolname::text OPERATOR(pg_catalog.=) session_user::text
    WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
        AND d.datconnlimit OPERATOR(pg_catalog.>=) 0
        AND NOT r.rolsuper
)
SELECT
    found.kind,
    found.name,
    found.setting,
    found.reserved,
    pg_catalog.count(*) FILTER (WHERE session.is_worker),
    pg_catalog.count(*) FILTER (WHERE session.is_django AND NOT session.is_worker),
    pg_catalog.count(*) FILTER (WHERE NOT session.is_django AND NOT session.is_worker),
    pg_catalog.pg_backend_pid()
FROM connection_limit AS found
LEFT JOIN session
    ON coalesce(session.datid OPERATOR(pg_catalog.=) found.datid, true)
    AND coalesce(session.usesysid OPERATOR(pg_catalog.=) found.usesysid, true)
GROUP BY found.kind, found.name, found.setting, found.reserved
ORDER BY found.kind DESC
