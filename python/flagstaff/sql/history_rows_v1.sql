-- The rows that are stored in entries of the history, with the present types of the table, and with
-- NULL in the columns that are listed.
SELECT stored.*, change.id AS flagstaff_entry
FROM
    {change_table} AS change,
    pg_catalog.jsonb_populate_record(
        NULL::{table}, change.old OPERATOR(pg_catalog.-) %s::pg_catalog.text[]
    ) AS stored
WHERE change.id OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.int8[])
