-- For each receiver: pending deliveries, failed ones, and the newest error.
SELECT
    receiver,
    pg_catalog.count(*) FILTER (WHERE failed_at IS NULL),
    pg_catalog.count(*) FILTER (WHERE failed_at IS NOT NULL),
    (pg_catalog.array_agg(last_error ORDER BY id DESC) FILTER (WHERE last_error IS NOT NULL))[1]
FROM {delivery_table}
GROUP BY receiver
