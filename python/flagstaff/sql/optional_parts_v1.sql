-- Tables and columns that a database which is not migrated yet lacks, in the order of the
-- parameters: $1 are tables, $2 columns of them, NULL for the table itself, each quoted as in a
-- query. problem is NULL if the part can be read.
SELECT
    position,
    id,
    column_name IS NULL AS is_table,
    CASE
        WHEN id IS NULL THEN 'missing'
        WHEN NOT pg_catalog.has_table_privilege(id, 'SELECT') THEN 'forbidden'
        WHEN column_name IS NOT NULL AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_attribute
                WHERE attrelid OPERATOR(pg_catalog.=) id
                    AND attname OPERATOR(pg_catalog.=)
                        (pg_catalog.parse_ident(column_name))[1]::name
                    AND NOT attisdropped
            )
            THEN 'missing'
    END AS problem
FROM (
    SELECT position, pg_catalog.to_regclass(table_name)::oid AS id, column_name
    FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[]))
        WITH ORDINALITY AS given (table_name, column_name, position)
) AS found
ORDER BY position
