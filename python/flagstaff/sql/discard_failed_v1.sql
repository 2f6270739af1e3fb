-- Deletes the failed deliveries.
WITH discarded AS (
    DELETE FROM {delivery_table} WHERE failed_at IS NOT NULL RETURNING 1
)
SELECT pg_catalog.count(*) FROM discarded
