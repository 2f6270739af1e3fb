-- The changes that are committed now and were not when the receiver last looked: what is above the
-- highest id of then, and below it what transactions have written that were open then. One
-- statement, so that what it sees and what it notes are of one moment. It comes after
-- lock_receiver_v1, which gives all this as numbers: the planner has to see how few rows that is.
-- A snapshot names no open transaction above all that have ended. None of those has an entry below
-- one that is seen: the trigger's EXCEPTION makes a subtransaction for each, with a number that is
-- taken after the entry's id, and that has ended too.
-- An event is what one transaction did to one flag or value, by one hand.
WITH now AS MATERIALIZED (
    SELECT ARRAY(
        SELECT xid::text::bigint
        FROM pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot()) AS xid
    ) AS open
), fresh AS (
    SELECT id, transaction_id, relation, object_pk, key,
        ARRAY[actor, source, reason, "session_user", role, application_name] AS hand
    FROM {change_table}
    WHERE id > %s
    UNION ALL
    SELECT id, transaction_id, relation, object_pk, key,
        ARRAY[actor, source, reason, "session_user", role, application_name] AS hand
    FROM {change_table}
    WHERE id <= %s AND transaction_id = ANY (%s::bigint[]) AND id <> ALL (%s::bigint[])
), beside AS (
    SELECT id, transaction_id, relation = 'k' AS is_value, object_pk, key,
        hand IS DISTINCT FROM pg_catalog.lag(hand) OVER (
            PARTITION BY transaction_id, relation = 'k', object_pk ORDER BY id
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
        %s, is_value, object_pk,
        (pg_catalog.array_agg(key ORDER BY id DESC))[1],
        pg_catalog.array_agg(id ORDER BY id)
    FROM numbered
    GROUP BY transaction_id, is_value, object_pk, hand
    ORDER BY pg_catalog.max(id)
    RETURNING 1
), moved AS (
    UPDATE {receiver_table}
    SET
        newest = greatest(newest, (SELECT pg_catalog.max(id) FROM {change_table})),
        open_then = now.open,
        known = ARRAY(SELECT id FROM {change_table} WHERE transaction_id = ANY (now.open))
    FROM now
    WHERE name = %s
)
SELECT pg_catalog.count(*) FROM taken
