-- Fills object_table in entries that are older than it, if only one table can be meant. A table whose
-- sequence never gave a number has never had a row. Other entries stay without a table, and are no
-- part of the history of any flag or value.
WITH watched AS (
    SELECT
        t.tgrelid AS id,
        pg_catalog.substring(t.tgargs, 1, 1) OPERATOR(pg_catalog.=) 'k' AS is_value
    FROM pg_catalog.pg_trigger AS t
    WHERE t.tgfoid OPERATOR(pg_catalog.=) pg_catalog.to_regprocedure(
            $function${schema}.flagstaff_row_history_v1()$function$
        )::oid
        AND t.tgname OPERATOR(pg_catalog.=) 'flagstaff_history_insert_v1'
        -- Entries about segments have always had a table.
        AND pg_catalog.substring(t.tgargs, 1, 1) OPERATOR(pg_catalog.<>) 's'
), used AS (
    SELECT id, is_value
    FROM watched
    WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend AS d
        JOIN pg_catalog.pg_class AS s ON s.oid OPERATOR(pg_catalog.=) d.objid
        WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::regclass
            AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::regclass
            AND d.refobjid OPERATOR(pg_catalog.=) id
            -- CASE, because the function raises an error for other relations.
            AND CASE WHEN s.relkind OPERATOR(pg_catalog.=) 'S'
                THEN pg_catalog.pg_sequence_last_value(s.oid) IS NULL ELSE false
            END
    )
), single AS (
    SELECT pg_catalog.min(id) AS id, is_value
    FROM used
    GROUP BY is_value
    HAVING pg_catalog.count(*) OPERATOR(pg_catalog.=) 1
)
UPDATE {change_table} AS change
SET object_table = single.id
FROM single
WHERE change.object_table IS NULL
    AND single.is_value OPERATOR(pg_catalog.=) (change.relation OPERATOR(pg_catalog.=) 'k');
