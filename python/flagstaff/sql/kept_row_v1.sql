-- The row that an entry of the history keeps, in the types that the table has now.
SELECT kept.*
FROM {change_table} AS change, jsonb_populate_record(NULL::{table}, change.old) AS kept
WHERE change.id = %s
