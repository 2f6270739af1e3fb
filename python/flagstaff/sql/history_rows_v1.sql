-- The listed columns as they were before entries, with the present types of the table. Columns that are
-- not listed are NULL. Not put together by jsonb_object_agg, which takes half a minute for 10 MB.
SELECT stored.*, taken.entry AS flagstaff_entry
FROM
    pg_catalog.jsonb_to_recordset(%s::pg_catalog.jsonb) AS taken (
        entry pg_catalog.int8, names pg_catalog.text[]
    )
    JOIN {change_table} AS change ON change.id OPERATOR(pg_catalog.=) taken.entry,
    pg_catalog.jsonb_populate_record(
        NULL::{table},
        change.old OPERATOR(pg_catalog.-) ARRAY(
            SELECT name FROM pg_catalog.jsonb_object_keys(change.old) AS name
            WHERE name OPERATOR(pg_catalog.<>) ALL (taken.names)
        )
    ) AS stored
