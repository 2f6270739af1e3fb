-- Queues deliveries of the changes that were committed since the last run for a receiver: entries
-- above the last id of that run, and entries below it of transactions that were open then. One
-- statement, so that the entries and the new position are of one snapshot. lock_receiver_v1 reads
-- its parameters, passed as constants so that the planner can estimate the number of rows.
-- A snapshot does not list open transactions above its xmax. None of them has an entry below a
-- visible one: the EXCEPTION block of the trigger assigns a subtransaction id after the entry's id,
-- and that subtransaction has ended too.
-- An event is what one transaction did to one flag or value with one attribution.
WITH now AS MATERIALIZED (
    SELECT ARRAY(
        SELECT xid::text::bigint
        FROM pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot()) AS xid
    ) AS open
), fresh AS (
    SELECT id, transaction_id, relation, object_pk, key,
        ARRAY[actor, source, reason, "session_user", role, application_name] AS attribution
    FROM {change_table}
    WHERE id > %s
    UNION ALL
    SELECT id, transaction_id, relation, object_pk, key,
        ARRAY[actor, source, reason, "session_user", role, application_name] AS attribution
    FROM {change_table}
    WHERE id <= %s AND transaction_id = ANY (%s::bigint[]) AND id <> ALL (%s::bigint[])
), compared AS (
    SELECT id, transaction_id, relation = 'k' AS is_value, object_pk, key,
        attribution IS DISTINCT FROM pg_catalog.lag(attribution) OVER (
            PARTITION BY transaction_id, relation = 'k', object_pk ORDER BY id
        ) AS starts_event
    FROM fresh
), numbered AS (
    SELECT id, transaction_id, is_value, object_pk, key,
        pg_catalog.count(*) FILTER (WHERE starts_event) OVER (
            PARTITION BY transaction_id, is_value, object_pk ORDER BY id
        ) AS event
    FROM compared
), queued AS (
    INSERT INTO {delivery_table} (receiver, is_value, object_pk, key, entries)
    SELECT
        %s, is_value, object_pk,
        (pg_catalog.array_agg(key ORDER BY id DESC))[1],
        pg_catalog.array_agg(id ORDER BY id)
    FROM numbered
    GROUP BY transaction_id, is_value, object_pk, event
    ORDER BY pg_catalog.max(id)
    RETURNING 1
), moved AS (
    UPDATE {receiver_table}
    SET
        last_entry = greatest(last_entry, (SELECT pg_catalog.max(id) FROM {change_table})),
        open_transactions = now.open,
        known_entries = ARRAY(SELECT id FROM {change_table} WHERE transaction_id = ANY (now.open))
    FROM now
    WHERE name = %s
)
SELECT pg_catalog.count(*) FROM queued
