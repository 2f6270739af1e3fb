-- Whether rules of flags, rules of values, and conditions of segments may name a flag; those of
-- flags and values also a segment. Most projects have none, and then no row is read.
SELECT
    EXISTS (
        SELECT FROM {flag_table}
        WHERE {flag_rules}::text OPERATOR(pg_catalog.~~) ANY (ARRAY['%"flag"%', '%"segment"%'])
    ),
    EXISTS (
        SELECT FROM {value_table}
        WHERE {value_rules}::text OPERATOR(pg_catalog.~~) ANY (ARRAY['%"flag"%', '%"segment"%'])
    ),
    EXISTS (
        SELECT FROM {segment_table}
        WHERE {segment_conditions}::text OPERATOR(pg_catalog.~~) '%"flag"%'
    )
