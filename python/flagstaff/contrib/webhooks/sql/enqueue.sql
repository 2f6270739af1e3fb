-- Queues the changes committed since the receiver's last read: entries above the highest id of that
-- read, and entries below it by transactions that were open then. One statement, so that the
-- entries it reads and the position it stores belong to one snapshot. Its parameters come from
-- the locked position: with literal numbers the planner sees how few rows match.
-- A snapshot does not list open transactions above the highest that has ended. None of those has an
-- entry below a visible one: the trigger's EXCEPTION block makes a subtransaction per entry, whose
-- number is assigned after the entry's id, and which has ended too.
-- Entries about other tables than those of FLAG_MODEL, VALUE_MODEL and segments are not queued.
-- An event is what one transaction did to one flag, value or segment by one actor.
WITH now AS MATERIALIZED (
    SELECT ARRAY(
        SELECT xid::text::bigint
        FROM pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot()) AS xid
    ) AS open
), watched AS MATERIALIZED (
    SELECT ARRAY(
        SELECT pg_catalog.to_regclass(name) FROM pg_catalog.unnest(%s::text[]) AS name
    ) AS tables
), fresh AS (
    SELECT id, transaction_id, relation::text AS relation, object_pk, key,
        ARRAY[actor, source, reason, "session_user", role, application_name] AS author
    FROM flagstaff_change
    WHERE id OPERATOR(pg_catalog.>) %s
        AND object_table OPERATOR(pg_catalog.=) ANY ((SELECT tables FROM watched)::regclass[])
    UNION ALL
    SELECT id, transaction_id, relation::text AS relation, object_pk, key,
        ARRAY[actor, source, reason, "session_user", role, application_name] AS author
    FROM flagstaff_change
    WHERE id OPERATOR(pg_catalog.<=) %s
        AND transaction_id OPERATOR(pg_catalog.=) ANY (%s::bigint[])
        AND id OPERATOR(pg_catalog.<>) ALL (%s::bigint[])
        AND object_table OPERATOR(pg_catalog.=) ANY ((SELECT tables FROM watched)::regclass[])
), of_rows AS (
    -- The allowed users are part of their flag.
    SELECT id, transaction_id, object_pk, key, author,
        CASE WHEN relation OPERATOR(pg_catalog.=) 'm' THEN 'f' ELSE relation END AS relation
    FROM fresh
), compared AS (
    SELECT id, transaction_id, relation, object_pk, key,
        (author OPERATOR(pg_catalog.=) pg_catalog.lag(author) OVER (
            PARTITION BY transaction_id, relation, object_pk ORDER BY id
        )) IS NOT TRUE AS starts_event
    FROM of_rows
), numbered AS (
    SELECT id, transaction_id, relation, object_pk, key,
        pg_catalog.count(*) FILTER (WHERE starts_event) OVER (
            PARTITION BY transaction_id, relation, object_pk ORDER BY id
        ) AS event_number
    FROM compared
), queued AS (
    INSERT INTO flagstaff_webhooks_delivery (receiver, relation, object_pk, key, entry_ids)
    SELECT
        %s, relation, object_pk,
        (pg_catalog.array_agg(key ORDER BY id DESC))[1],
        pg_catalog.to_jsonb(pg_catalog.array_agg(id ORDER BY id))
    FROM numbered
    GROUP BY transaction_id, relation, object_pk, event_number
    ORDER BY pg_catalog.max(id)
    RETURNING 1
), advanced AS (
    UPDATE flagstaff_webhooks_position
    SET
        last_entry_id = greatest(last_entry_id, (SELECT pg_catalog.max(id) FROM flagstaff_change)),
        open_transactions = pg_catalog.to_jsonb(now.open),
        read_at = pg_catalog.clock_timestamp(),
        excluded_entry_ids = pg_catalog.to_jsonb(ARRAY(
            SELECT id FROM flagstaff_change WHERE transaction_id OPERATOR(pg_catalog.=) ANY (now.open)
        ))
    FROM now
    WHERE receiver OPERATOR(pg_catalog.=) %s
)
SELECT pg_catalog.count(*) FROM queued
