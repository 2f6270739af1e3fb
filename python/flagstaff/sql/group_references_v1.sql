-- The names of the groups that conditions read, as a JSON array. It has "" if a condition may
-- depend on any group: its operator is not "in", or it cannot be read. Each condition on groups is
-- found in the text, and is readable if it is also found at its place.
-- Part of an index, so every function is immutable, and none recurses: the depth of JSON has no
-- limit, and an error would make the write of the row fail.
pg_catalog.jsonb_path_query_array(
    {document}, '{conditions} ? (@.attribute == "groups").values[*]', '{}', true
) OPERATOR(pg_catalog.||) CASE
    WHEN pg_catalog.cardinality(
        pg_catalog.string_to_array({document}::text, '"attribute": "groups"')
    ) OPERATOR(pg_catalog.=) (
        1 OPERATOR(pg_catalog.+) pg_catalog.jsonb_array_length(
            pg_catalog.jsonb_path_query_array(
                {document},
                '{conditions} ? (@.attribute == "groups" && @.operator == "in"
                    && exists(@.values[*]) && !exists(@.values[*] ? (@.type() != "string")))',
                '{}',
                true
            )
        )
    ) THEN '[]'::jsonb
    ELSE '[""]'::jsonb
END
