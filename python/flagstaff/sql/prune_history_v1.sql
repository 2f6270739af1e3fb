-- Deletes the next entries that are older than a time, in the order of their ids, and returns their
-- number and the id to go on after; NULL at the end. It stops at the first entry that is not older,
-- so that each row keeps an unbroken end of its history even if the clocks of two sessions disagreed.
-- The newest entry of each existing row stays, because it is the version of the row.
WITH next AS (
    SELECT id, at, object_table, relation, object_pk
    FROM {change_table} WHERE id OPERATOR(pg_catalog.>) %(after)s
    ORDER BY id LIMIT %(batch)s
), old AS (
    SELECT *
    FROM next
    WHERE id OPERATOR(pg_catalog.<) coalesce(
        (SELECT pg_catalog.min(id) FROM next WHERE at OPERATOR(pg_catalog.>=) %(before)s),
        9223372036854775807
    )
), unneeded AS (
    SELECT old.id
    FROM old
    WHERE NOT (
        CASE
            WHEN object_table OPERATOR(pg_catalog.=) (SELECT pg_catalog.to_regclass(%(flags)s))
                THEN object_pk OPERATOR(pg_catalog.=) ANY (SELECT {flag_pk}::text FROM {flag_table})
            WHEN object_table OPERATOR(pg_catalog.=) (SELECT pg_catalog.to_regclass(%(values)s))
                THEN object_pk OPERATOR(pg_catalog.=) ANY (SELECT {value_pk}::text FROM {value_table})
            WHEN object_table OPERATOR(pg_catalog.=) (SELECT pg_catalog.to_regclass(%(segments)s))
                THEN object_pk OPERATOR(pg_catalog.=) ANY
                    (SELECT {segment_pk}::text FROM {segment_table})
            ELSE false
        END
        AND NOT EXISTS (
            SELECT FROM {change_table} AS newer
            WHERE newer.relation OPERATOR(pg_catalog.=) ANY (
                    CASE WHEN old.relation OPERATOR(pg_catalog.=) ANY ('{f,m}'::"char"[])
                        THEN '{f,m}'::"char"[] ELSE ARRAY[old.relation] END
                )
                AND newer.object_pk OPERATOR(pg_catalog.=) old.object_pk
                AND newer.id OPERATOR(pg_catalog.>) old.id
                AND newer.object_table OPERATOR(pg_catalog.=) old.object_table
        )
    )
), deleted AS (
    DELETE FROM {change_table}
    WHERE id OPERATOR(pg_catalog.=) ANY (
        SELECT c.id FROM {change_table} AS c
        WHERE c.id OPERATOR(pg_catalog.=) ANY (SELECT id FROM unneeded)
        FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
)
SELECT
    (SELECT pg_catalog.count(*) FROM deleted),
    CASE WHEN (SELECT pg_catalog.count(*) FROM old) OPERATOR(pg_catalog.=) %(batch)s
        THEN (SELECT pg_catalog.max(id) FROM old) END
