-- The time of the last evaluation of each key that was ever evaluated, with or without a flag.
SELECT flag.key, pg_catalog.max(u.last_evaluated_at)
FROM pg_catalog.unnest(%s::text[]) AS flag (key)
JOIN {usage_table} AS u ON u.key OPERATOR(pg_catalog.=) flag.key
    AND u.hour OPERATOR(pg_catalog.=) (
        SELECT pg_catalog.max(n.hour) FROM {usage_table} AS n
        WHERE n.key OPERATOR(pg_catalog.=) flag.key
    )
GROUP BY flag.key
