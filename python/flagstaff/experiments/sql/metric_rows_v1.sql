-- Of a metric whose rows are in no window of a unit: how many rows there are since the day before the
-- first exposure, how many belong to a unit, and of both sources how many there are, and how many at
-- midnight. The parameters are the experiment and its run, TIME_ZONE, and those of the metric.
WITH given AS (
    SELECT %s::bigint AS experiment_id, %s::integer AS run, %s::text AS zone
), exposed AS (
    SELECT e.{unit} AS unit, e.at
    FROM {exposure_table} AS e
    JOIN given ON e.experiment_id OPERATOR(pg_catalog.=) given.experiment_id
        AND e.run OPERATOR(pg_catalog.=) given.run
    WHERE e.{unit} IS NOT NULL
), metric (unit, y, x, is_second, at) AS (
    {metric}
)
SELECT
    pg_catalog.count(*),
    pg_catalog.count(u.unit),
    pg_catalog.count(*) FILTER (WHERE NOT m.is_second),
    pg_catalog.count(*) FILTER (WHERE NOT m.is_second AND {at_midnight}),
    pg_catalog.count(*) FILTER (WHERE m.is_second),
    pg_catalog.count(*) FILTER (WHERE m.is_second AND {at_midnight})
FROM metric AS m
CROSS JOIN given
LEFT JOIN (SELECT DISTINCT unit FROM exposed) AS u ON u.unit OPERATOR(pg_catalog.=) m.unit
WHERE m.at OPERATOR(pg_catalog.>=) (
    SELECT pg_catalog.min(at) OPERATOR(pg_catalog.-) '1 day'::interval FROM exposed
)
