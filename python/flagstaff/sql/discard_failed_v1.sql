-- What was given up is not told any more.
WITH gone AS (
    DELETE FROM {delivery_table} WHERE failed_at IS NOT NULL RETURNING 1
)
SELECT pg_catalog.count(*) FROM gone
