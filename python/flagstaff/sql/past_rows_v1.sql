-- Rows with these columns, with the present types of the table. The other columns are NULL.
SELECT stored.*
FROM
    pg_catalog.jsonb_array_elements(%s::pg_catalog.jsonb) WITH ORDINALITY AS given (columns, place),
    LATERAL pg_catalog.jsonb_populate_record(NULL::{table}, given.columns) AS stored
ORDER BY given.place
