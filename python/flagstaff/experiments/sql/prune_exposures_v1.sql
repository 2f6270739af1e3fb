-- Deletes a number of the exposures of an experiment.
WITH deleted AS (
    DELETE FROM {exposure_table}
    WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
        SELECT ctid FROM {exposure_table}
        WHERE experiment_id OPERATOR(pg_catalog.=) %(experiment)s
        LIMIT %(batch)s FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT
    pg_catalog.count(*),
    CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.=) %(batch)s THEN 0 END
FROM deleted
