-- The pending and the failed deliveries of each receiver, and the error of the newest failure.
SELECT
    receiver,
    pg_catalog.count(*) FILTER (WHERE failed_at IS NULL),
    pg_catalog.count(*) FILTER (WHERE failed_at IS NOT NULL),
    (pg_catalog.array_agg(error ORDER BY id DESC) FILTER (WHERE error IS NOT NULL))[1]
FROM {delivery_table}
GROUP BY receiver
