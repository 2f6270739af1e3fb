-- Deletes the receivers that are not among these names, and for which no run has read the history
-- for this many seconds: a run with other settings may serve them. With their deliveries, and those
-- of receivers that have no row. Returns the number of deliveries by receiver.
WITH removed AS (
    DELETE FROM {receiver_table}
    WHERE name OPERATOR(pg_catalog.<>) ALL (%s::text[])
        AND read_at OPERATOR(pg_catalog.<=) (
            pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => %s)
        )
    RETURNING name
), deleted AS (
    DELETE FROM {delivery_table} AS d
    WHERE d.receiver OPERATOR(pg_catalog.<>) ALL (%s::text[])
        AND (
            d.receiver OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT name FROM removed))
            OR NOT EXISTS (
                SELECT FROM {receiver_table} AS r WHERE r.name OPERATOR(pg_catalog.=) d.receiver
            )
        )
    RETURNING d.receiver
)
SELECT receiver, pg_catalog.count(*) FROM deleted GROUP BY receiver ORDER BY receiver
