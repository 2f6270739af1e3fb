-- Creates a barrier, which asks the workers behind replication only if that is wanted. `newest` is the newest token before it, and must be lower: if rows were copied
-- without their sequence, an old token could look newer than the barrier.
SELECT
    (SELECT pg_catalog.max(id) FROM {token_table}) AS newest,
    pg_catalog.set_config('flagstaff.asks_regions', %s, true),
    flagstaff_barrier_v1() AS barrier
