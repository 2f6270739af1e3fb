-- Which server this is, for any role. All copies of a server have its system identifier, a subscriber has
-- one of its own. Each promotion begins another timeline, which a standby may know up to
-- checkpoint_timeout later.
SELECT
    system_identifier::text AS system,
    CASE
        WHEN pg_catalog.pg_is_in_recovery() THEN (
            SELECT greatest(c.timeline_id, r.min_recovery_end_timeline)
            FROM pg_catalog.pg_control_checkpoint() AS c, pg_catalog.pg_control_recovery() AS r
        )::bigint
        -- Not from the control file, which has it only after the checkpoint that follows a promotion.
        ELSE pg_catalog.concat(
            'x',
            pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8)
        )::bit(32)::bigint
    END AS timeline
FROM pg_catalog.pg_control_system()
