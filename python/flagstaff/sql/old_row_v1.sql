-- The old row of an entry, in the column types that the table has now.
SELECT old_row.*
FROM {change_table} AS change, jsonb_populate_record(NULL::{table}, change.old) AS old_row
WHERE change.id = %s
