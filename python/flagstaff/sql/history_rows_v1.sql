-- Rows of the columns that are listed, as they were before the entries that are listed with them, with
-- the present types of the table. Columns that are not listed are NULL.
SELECT stored.*, past.pk AS flagstaff_pk
FROM
    (
        SELECT
            taken.pk,
            pg_catalog.jsonb_object_agg(
                taken.name, change.old OPERATOR(pg_catalog.->) taken.name
            ) AS columns
        FROM
            pg_catalog.jsonb_to_recordset(%s::pg_catalog.jsonb) AS taken (
                pk pg_catalog.text, entry pg_catalog.int8, name pg_catalog.text
            )
            JOIN {change_table} AS change ON change.id OPERATOR(pg_catalog.=) taken.entry
        GROUP BY taken.pk
    ) AS past,
    pg_catalog.jsonb_populate_record(NULL::{table}, past.columns) AS stored
