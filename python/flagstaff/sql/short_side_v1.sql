-- A side of an entry for ChangeQuerySet.short. Of a list: the first users, and the number of all. Of a
-- row: the members that are not long, and of each long one the start, the length and a digest; of one
-- with millions of characters, whose text would take too long, only its size and a digest.
-- Only a row of this size in the table has long members; those are measured without compression. Each
-- function that reads a long row decompresses it, so only one does.
(
    SELECT CASE
        WHEN relation OPERATOR(pg_catalog.=) 'm' THEN pg_catalog.jsonb_build_object(
            'short', pg_catalog.jsonb_path_query_array(side, '$[0 to 19]'),
            'more', pg_catalog.jsonb_array_length(side)
        )
        WHEN pg_catalog.pg_column_size(side) OPERATOR(pg_catalog.>) 2000 THEN (
            SELECT pg_catalog.jsonb_build_object(
                'short', coalesce(
                    pg_catalog.jsonb_object_agg(name, value)
                        FILTER (WHERE size OPERATOR(pg_catalog.<=) 20000), '{}'
                ),
                'more', pg_catalog.jsonb_object_agg(name, CASE
                    WHEN size OPERATOR(pg_catalog.<=) 1000000 THEN (
                        SELECT pg_catalog.jsonb_build_array(
                            pg_catalog.left(whole, 300), pg_catalog.length(whole),
                            pg_catalog.md5(whole)
                        )
                        FROM (SELECT value::text AS whole OFFSET 0) AS texts
                    )
                    ELSE pg_catalog.jsonb_build_array(
                        '', size, pg_catalog.jsonb_hash_extended(value, 0)::text
                    )
                END) FILTER (WHERE size OPERATOR(pg_catalog.>) 20000)
            )
            FROM (
                SELECT name, value, pg_catalog.pg_column_size(value) AS size
                FROM pg_catalog.jsonb_each(side) AS member (name, value) OFFSET 0
            ) AS members
        )
        ELSE pg_catalog.jsonb_build_object('short', side)
    END
    FROM (VALUES (%(expressions)s)) AS entry (relation, side)
)
