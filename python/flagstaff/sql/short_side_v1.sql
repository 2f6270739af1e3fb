-- A side of an entry for ChangeQuerySet.short: the first users of a list; a row without long members.
-- Only a row of this size in the table has long members; those are measured without compression.
(
    SELECT CASE
        WHEN relation OPERATOR(pg_catalog.=) 'm'
            THEN pg_catalog.jsonb_path_query_array(side, '$[0 to 19]')
        WHEN pg_catalog.pg_column_size(side) OPERATOR(pg_catalog.>) 2000
            AND pg_catalog.jsonb_typeof(side) OPERATOR(pg_catalog.=) 'object'
            THEN side OPERATOR(pg_catalog.-) ARRAY(
                SELECT name FROM pg_catalog.jsonb_each(side) AS member (name, value)
                WHERE pg_catalog.pg_column_size(value) OPERATOR(pg_catalog.>) 20000
            )
        ELSE side
    END
    FROM (VALUES (%(expressions)s)) AS entry (relation, side)
)
