-- A row with these columns, with the present types of the table. The other columns are NULL.
SELECT stored.* FROM pg_catalog.jsonb_populate_record(NULL::{table}, %s::pg_catalog.jsonb) AS stored
