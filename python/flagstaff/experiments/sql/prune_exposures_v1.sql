-- Deletes a number of the exposures of an experiment.
DELETE FROM {exposure_table}
WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
    SELECT ctid FROM {exposure_table}
    WHERE experiment_id OPERATOR(pg_catalog.=) %s
    LIMIT %s FOR UPDATE SKIP LOCKED
))
