-- The experiments that were not deleted. rules is NULL for an experiment that everyone takes part in, bucket_by for one whose
-- unit is the user.
SELECT
    id::text AS pk,
    key::text AS key,
    state::text AS state,
    winner::text AS winner,
    run,
    variants::text AS variants,
    traffic_percent::integer AS traffic_percent,
    overrides::text AS overrides,
    CASE WHEN rules::text OPERATOR(pg_catalog.<>) '[]' THEN rules::text END AS rules,
    CASE WHEN bucket_by OPERATOR(pg_catalog.<>) 'user' THEN bucket_by::text END AS bucket_by
FROM (SELECT * FROM {experiment_table} {restriction}) AS experiment
-- No valid key has a space: see history/deleted.py.
WHERE pg_catalog.strpos(key::text, ' (deleted ') OPERATOR(pg_catalog.=) 0
