-- The units of an experiment by the hour in which they met their variant, and by variant, which is
-- NULL for units that met two. is_over is false for the present hour. The last column is the number
-- of visitors whose browser has sent the cookie back; no row is selected by it.
WITH given AS (
    SELECT
        %s::bigint AS experiment_id,
        %s::integer AS run,
        pg_catalog.date_trunc('hour', pg_catalog.clock_timestamp(), 'UTC') AS until
), met AS (
    SELECT
        pg_catalog.date_trunc('hour', pg_catalog.min(e.at), 'UTC') AS hour,
        CASE
            WHEN pg_catalog.min(e.variant) OPERATOR(pg_catalog.=) pg_catalog.max(e.variant)
                THEN pg_catalog.min(e.variant)
        END AS variant,
        pg_catalog.bool_or(e.returned) AS returned
    FROM {exposure_table} AS e
    JOIN given ON e.experiment_id OPERATOR(pg_catalog.=) given.experiment_id
        AND e.run OPERATOR(pg_catalog.=) given.run
    WHERE TRUE {and_not_excluded}
    GROUP BY e.unit
)
SELECT
    met.hour,
    met.variant,
    met.hour OPERATOR(pg_catalog.<) given.until AS is_over,
    pg_catalog.count(*),
    pg_catalog.count(*) FILTER (WHERE met.returned)
FROM met CROSS JOIN given
GROUP BY met.hour, met.variant, given.until
ORDER BY met.hour
