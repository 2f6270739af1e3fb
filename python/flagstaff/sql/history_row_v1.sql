-- The row that is stored in an entry of the history, with the present types of the table.
SELECT stored.*
FROM
    {change_table} AS change,
    pg_catalog.jsonb_populate_record(NULL::{table}, change.old) AS stored
WHERE change.id OPERATOR(pg_catalog.=) %s
