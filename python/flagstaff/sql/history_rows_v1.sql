-- The rows before entries of the history, with the present types of the table. Of each entry, only the
-- columns that are listed are read; the others are NULL.
SELECT stored.*, change.id AS flagstaff_entry
FROM
    pg_catalog.jsonb_to_recordset(%s::pg_catalog.jsonb) AS wanted (
        id pg_catalog.int8, columns pg_catalog.text[]
    )
    JOIN {change_table} AS change USING (id),
    pg_catalog.jsonb_populate_record(NULL::{table}, (
        SELECT pg_catalog.jsonb_object_agg(one.key, one.value)
        FROM pg_catalog.jsonb_each(change.old) AS one
        WHERE one.key OPERATOR(pg_catalog.=) ANY (wanted.columns)
    )) AS stored
