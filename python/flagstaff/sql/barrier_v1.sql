-- Draws a barrier. The newest token is that of the moment before it, and must be older: where rows
-- were copied without their sequence, an old token would pass for one that added after the barrier.
SELECT
    (SELECT pg_catalog.max(id) FROM {token_table}) AS newest,
    {schema}.flagstaff_barrier_v1() AS barrier,
    pg_catalog.pg_backend_pid() AS session
