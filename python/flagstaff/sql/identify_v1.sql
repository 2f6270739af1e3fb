-- What kind of server this is, and whether every watched table has its token trigger.
-- $1 is the token table, $2 to $4 the watched tables, each quoted as in a query.
SELECT
    pg_is_in_recovery() AS standby,
    to_regclass($1) IS NOT NULL AND (
        SELECT count(DISTINCT t.tgrelid) = 3
        FROM pg_trigger AS t
        JOIN pg_proc AS p ON p.oid = t.tgfoid
        WHERE t.tgrelid IN (to_regclass($2), to_regclass($3), to_regclass($4))
            AND p.proname LIKE 'flagstaff\_token\_v%'
            AND t.tgenabled IN ('A', 'O')
    ) AS tokens
