-- Deletes a number of the networks of runs that ended before a time.
WITH deleted AS (
    DELETE FROM {failed_network_table}
    WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
        SELECT n.ctid FROM {failed_network_table} AS n
        JOIN {step_run_table} AS r ON r.id OPERATOR(pg_catalog.=) n.run_id
        WHERE r.ended_at OPERATOR(pg_catalog.<) %(before)s::timestamptz
        LIMIT %(batch)s
        FOR UPDATE OF n SKIP LOCKED
    ))
    RETURNING 1
)
SELECT
    pg_catalog.count(*),
    CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.=) %(batch)s THEN 0 END
FROM deleted
