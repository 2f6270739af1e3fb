-- Creates a barrier. `newest` is the newest token before it, and must be lower: if rows were copied
-- without their sequence, an old token could look newer than the barrier.
SELECT
    (SELECT pg_catalog.max(id) FROM {token_table}) AS newest,
    flagstaff_barrier_v1() AS barrier
