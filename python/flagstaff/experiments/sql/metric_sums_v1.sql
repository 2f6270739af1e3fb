-- The sums of a metric, by the hour in which the window of a unit ended, and by variant. A unit that
-- met two variants is left out; so is one that was exposed before the metric was added, and one whose
-- window is not over at the last full hour: its value could still change. The constants are
-- subtracted so that no digit is lost; they are materialized, because without statistics the planner
-- would compute them again for each unit. The last columns are the rows of both sources that were
-- joined, and those of them at midnight. The parameters are the experiment and its run; when the
-- metric was added; when the window begins and ends, and how long before the exposure values count
-- as x, in seconds after the exposure; TIME_ZONE; when the windows must be over, or NULL for the last
-- full hour; and those of the metric.
WITH given AS (
    SELECT
        %s::bigint AS experiment_id,
        %s::integer AS run,
        %s::timestamptz AS since,
        pg_catalog.make_interval(secs => %s) AS first,
        pg_catalog.make_interval(secs => %s) AS last,
        pg_catalog.make_interval(secs => %s) AS before,
        %s::text AS zone,
        LEAST(
            pg_catalog.date_trunc('hour', pg_catalog.clock_timestamp(), 'UTC'), %s::timestamptz
        ) AS until
), metric (unit, y, x, is_second, at) AS (
    {metric}
), exposed AS (
    SELECT
        e.{unit} AS unit,
        pg_catalog.min(e.variant) AS variant,
        pg_catalog.min(e.at) AS at
    FROM {exposure_table} AS e
    JOIN given ON e.experiment_id OPERATOR(pg_catalog.=) given.experiment_id
        AND e.run OPERATOR(pg_catalog.=) given.run
    WHERE e.{unit} IS NOT NULL {and_not_excluded}
    GROUP BY e.{unit}
    -- The planner takes half of the units to pass a CASE, and hardly any to pass a comparison: then
    -- it would look up the rows of each unit.
    HAVING CASE
        WHEN pg_catalog.min(e.variant) OPERATOR(pg_catalog.=) pg_catalog.max(e.variant)
            THEN NOT pg_catalog.bool_or({met_another}) AND coalesce(
                pg_catalog.min(e.at) OPERATOR(pg_catalog.>=) (SELECT since FROM given), true
            )
        ELSE false
    END
), complete AS (
    SELECT exposed.* FROM exposed CROSS JOIN given
    WHERE exposed.at OPERATOR(pg_catalog.+) given.last OPERATOR(pg_catalog.<=) given.until
), measured AS MATERIALIZED (
    SELECT
        pg_catalog.date_trunc('hour', u.at OPERATOR(pg_catalog.+) given.last, 'UTC') AS hour,
        u.variant,
        {y} AS y,
        {x} AS x,
        pg_catalog.count(m.unit) FILTER (WHERE NOT m.is_second) AS rows,
        pg_catalog.count(m.unit) FILTER (WHERE NOT m.is_second AND {at_midnight}) AS midnights,
        pg_catalog.count(m.unit) FILTER (WHERE m.is_second) AS second_rows,
        pg_catalog.count(m.unit) FILTER (WHERE m.is_second AND {at_midnight}) AS second_midnights
    FROM complete AS u
    CROSS JOIN given
    LEFT JOIN metric AS m ON m.unit OPERATOR(pg_catalog.=) u.unit
        AND m.at OPERATOR(pg_catalog.>=) (u.at OPERATOR(pg_catalog.-) given.before)
        AND m.at OPERATOR(pg_catalog.<) (u.at OPERATOR(pg_catalog.+) given.last)
    GROUP BY u.unit, u.variant, u.at, given.first, given.last, given.zone
), constants AS MATERIALIZED (
    SELECT
        coalesce(pg_catalog.avg(y), 0) AS y,
        coalesce(pg_catalog.avg(x), 0) AS x
    FROM measured
)
SELECT
    measured.hour,
    measured.variant,
    pg_catalog.count(*),
    pg_catalog.sum(measured.y - c.y),
    pg_catalog.sum((measured.y - c.y) * (measured.y - c.y)),
    pg_catalog.sum(measured.x - c.x),
    pg_catalog.sum((measured.x - c.x) * (measured.x - c.x)),
    pg_catalog.sum((measured.x - c.x) * (measured.y - c.y)),
    c.y,
    c.x,
    pg_catalog.sum(measured.rows)::bigint,
    pg_catalog.sum(measured.midnights)::bigint,
    pg_catalog.sum(measured.second_rows)::bigint,
    pg_catalog.sum(measured.second_midnights)::bigint
FROM measured CROSS JOIN constants AS c
GROUP BY measured.hour, measured.variant, c.y, c.x
ORDER BY measured.hour, measured.variant
