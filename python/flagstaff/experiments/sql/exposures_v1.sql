-- The units of an experiment by the hour in which they met their variant, by phase and by variant.
-- variant is NULL for units that met two. Only full hours count.
WITH met AS (
    SELECT
        pg_catalog.date_trunc('hour', pg_catalog.min(at)) AS hour,
        pg_catalog.min(phase) AS phase,
        CASE
            WHEN pg_catalog.min(variant) OPERATOR(pg_catalog.=) pg_catalog.max(variant)
                THEN pg_catalog.min(variant)
        END AS variant
    FROM {exposure_table}
    WHERE experiment_id OPERATOR(pg_catalog.=) %s AND shuffle OPERATOR(pg_catalog.=) %s
        AND at OPERATOR(pg_catalog.<) pg_catalog.date_trunc(
            'hour', pg_catalog.clock_timestamp()
        )
    GROUP BY unit
)
SELECT hour, phase, variant, pg_catalog.count(*)
FROM met
GROUP BY hour, phase, variant
