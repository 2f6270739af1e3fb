-- What transactions did, as pages show it: for each transaction and kind of row, how many rows it
-- created, deleted and changed, with the first ones by key. Reads at most so many entries of each
-- transaction, because one may have changed all flags. Also lists the rows whose first entry is
-- secret: an undo may need a value of them that the history lacks.
WITH entry AS (
    SELECT
        wanted.transaction_id, found.id, found.object_pk, found.key, found.action, found.is_row,
        found.relation, found.is_secret
    FROM ROWS FROM (
        pg_catalog.unnest(%(transactions)s::int8[]), pg_catalog.unnest(%(times)s::timestamptz[])
    ) AS wanted (transaction_id, at)
    CROSS JOIN LATERAL (
        SELECT
            c.id, c.object_pk, c.key, c.action, c.at, c.object_table,
            c.relation OPERATOR(pg_catalog.<>) 'm' AS is_row,
            CASE WHEN c.relation OPERATOR(pg_catalog.=) 'm' THEN 'f' ELSE c.relation END AS relation,
            c.relation OPERATOR(pg_catalog.=) 'k' AND 'true' OPERATOR(pg_catalog.=) ANY (ARRAY[
                c.old OPERATOR(pg_catalog.->>) 'secret', c.new OPERATOR(pg_catalog.->>) 'secret'
            ]) AS is_secret
        FROM {change_table} AS c
        -- As a range, so that no index of the ids alone gives the order: while the statistics know only
        -- one transaction, as after an import, it would be read for each of these.
        WHERE c.transaction_id OPERATOR(pg_catalog.>=) wanted.transaction_id
            AND c.transaction_id OPERATOR(pg_catalog.<=) wanted.transaction_id
        ORDER BY c.transaction_id, c.id LIMIT %(limit)s
    ) AS found
    -- Here, so that the entries above are read in the order of their index, and not all of them.
    WHERE found.at OPERATOR(pg_catalog.>=) (wanted.at OPERATOR(pg_catalog.-) %(age)s::interval)
        AND found.at OPERATOR(pg_catalog.<=) (wanted.at OPERATOR(pg_catalog.+) %(age)s::interval)
        AND found.object_table::oid OPERATOR(pg_catalog.=) ANY (ARRAY(
            SELECT pg_catalog.to_regclass(t)::oid FROM pg_catalog.unnest(%(tables)s::text[]) AS t
        ))
), part AS (
    SELECT
        transaction_id, relation, object_pk,
        pg_catalog.max(key) AS key, pg_catalog.count(*) AS entries,
        pg_catalog.min(id) AS first, pg_catalog.max(id) AS last,
        -- SQL may write the allowed users before their flag. Only the entries of the row say whether
        -- it was created or deleted.
        coalesce(pg_catalog.max(id) FILTER (WHERE is_row), pg_catalog.max(id)) AS named,
        coalesce((pg_catalog.min(id) FILTER (WHERE is_row)) OPERATOR(pg_catalog.=) (
            pg_catalog.min(id) FILTER (WHERE is_row AND action OPERATOR(pg_catalog.=) 'insert')
        ), false) AS creates,
        coalesce((pg_catalog.max(id) FILTER (WHERE is_row)) OPERATOR(pg_catalog.=) (
            pg_catalog.max(id) FILTER (
                WHERE is_row AND action OPERATOR(pg_catalog.=) ANY (ARRAY['delete', 'truncate'])
            )
        ), false) AS deletes,
        coalesce(pg_catalog.min(id) OPERATOR(pg_catalog.=) (
            pg_catalog.min(id) FILTER (WHERE is_secret)
        ), false) AS is_secret
    FROM entry
    GROUP BY transaction_id, relation, object_pk
), placed AS (
    SELECT
        *,
        pg_catalog.sum(entries) OVER (PARTITION BY transaction_id)::int8 AS all_entries,
        pg_catalog.count(*) OVER (PARTITION BY transaction_id, relation, creates, deletes) AS alike,
        pg_catalog.row_number() OVER (
            PARTITION BY transaction_id, relation, creates, deletes ORDER BY key, first
        ) AS place
    FROM part
)
SELECT
    transaction_id, all_entries, alike, is_secret, relation, object_pk,
    (SELECT c.key FROM {change_table} AS c WHERE c.id OPERATOR(pg_catalog.=) named),
    first, last, creates, deletes
FROM placed
WHERE place OPERATOR(pg_catalog.<=) %(shown)s OR is_secret
ORDER BY transaction_id, relation, creates, deletes, place
