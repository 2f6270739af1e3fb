-- What short_side_v1 leaves out: the length of a list; of each long member of a row the start, the
-- length and a digest.
(
    SELECT CASE
        WHEN relation OPERATOR(pg_catalog.=) 'm'
            THEN pg_catalog.to_jsonb(pg_catalog.jsonb_array_length(side))
        WHEN pg_catalog.pg_column_size(side) OPERATOR(pg_catalog.>) 2000
            AND pg_catalog.jsonb_typeof(side) OPERATOR(pg_catalog.=) 'object'
            THEN (
                SELECT pg_catalog.jsonb_object_agg(name, (
                    SELECT pg_catalog.jsonb_build_array(
                        pg_catalog.left(whole, 300), pg_catalog.length(whole), pg_catalog.md5(whole)
                    )
                    FROM (SELECT value::text AS whole OFFSET 0) AS texts
                ))
                FROM pg_catalog.jsonb_each(side) AS member (name, value)
                WHERE pg_catalog.pg_column_size(value) OPERATOR(pg_catalog.>) 20000
            )
    END
    FROM (VALUES (%(expressions)s)) AS entry (relation, side)
)
