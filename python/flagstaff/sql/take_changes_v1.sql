-- The changes that are committed now and were not when the receiver last looked: what is above the
-- highest id of then, and below it what transactions have written that were open then. One
-- statement, so that what it sees and the snapshot that it notes are of one moment. It comes after
-- lock_receiver_v1, and so sees what the one before has noted.
-- An event is what one transaction did to one flag or value, by one hand.
WITH place AS MATERIALIZED (
    SELECT name, seen, newest FROM {receiver_table} WHERE name = %s
), open_then (transaction_id) AS (
    SELECT xid::text::bigint FROM place, pg_catalog.pg_snapshot_xip(place.seen) AS xid
), fresh AS (
    SELECT id, transaction_id, src, object_pk, key,
        ARRAY[actor, door, reason, "session_user", role, application_name] AS hand
    FROM {change_table} WHERE id > (SELECT newest FROM place)
    UNION ALL
    SELECT id, transaction_id, src, object_pk, key,
        ARRAY[actor, door, reason, "session_user", role, application_name] AS hand
    FROM {change_table}
    WHERE id <= (SELECT newest FROM place)
        AND transaction_id IN (SELECT transaction_id FROM open_then)
), beside AS (
    SELECT id, transaction_id, src = 'k' AS is_value, object_pk, key,
        hand IS DISTINCT FROM pg_catalog.lag(hand) OVER (
            PARTITION BY transaction_id, src = 'k', object_pk ORDER BY id
        ) AS is_another
    FROM fresh
), numbered AS (
    SELECT id, transaction_id, is_value, object_pk, key,
        pg_catalog.count(*) FILTER (WHERE is_another) OVER (
            PARTITION BY transaction_id, is_value, object_pk ORDER BY id
        ) AS hand
    FROM beside
), taken AS (
    INSERT INTO {delivery_table} (receiver, is_value, object_pk, key, entries)
    SELECT
        (SELECT name FROM place), is_value, object_pk,
        (pg_catalog.array_agg(key ORDER BY id DESC))[1],
        pg_catalog.array_agg(id ORDER BY id)
    FROM numbered
    GROUP BY transaction_id, is_value, object_pk, hand
    ORDER BY pg_catalog.max(id)
    RETURNING 1
), moved AS (
    UPDATE {receiver_table} AS receiver
    SET
        seen = pg_catalog.pg_current_snapshot(),
        newest = greatest(
            place.newest, (SELECT coalesce(pg_catalog.max(id), 0) FROM {change_table})
        )
    FROM place
    WHERE receiver.name = place.name
)
SELECT pg_catalog.count(*) FROM taken
