-- All experiments. rules is NULL for an experiment that everyone takes part
-- in, and empty for rules over 256 KiB, which are not loaded; forced units over 256 KiB are not
-- loaded either. bucket_by is NULL for an experiment whose unit is the user.
SELECT
    id::text AS pk,
    key::text AS key,
    state::text AS state,
    winner::text AS winner,
    shuffle,
    phase,
    pg_catalog.jsonb_path_query_array(variants, '$[*].key')::text AS variants,
    allocation::text AS allocation,
    CASE
        WHEN pg_catalog.octet_length(overrides::text) OPERATOR(pg_catalog.<=) 262144
            THEN overrides::text
    END AS overrides,
    CASE
        WHEN rules::text OPERATOR(pg_catalog.=) '[]' THEN NULL
        WHEN pg_catalog.octet_length(rules::text) OPERATOR(pg_catalog.>) 262144 THEN ''
        ELSE rules::text
    END AS rules,
    CASE WHEN bucket_by OPERATOR(pg_catalog.<>) 'user' THEN bucket_by::text END AS bucket_by
FROM {experiment_table}
{restriction}
