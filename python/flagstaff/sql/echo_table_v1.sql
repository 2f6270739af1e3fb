-- The echo: one row, which flagstaff_worker_v1 changes about every 20 s while workers report here. It
-- is replicated like the flags. So a worker at a standby or a subscriber knows that changes still
-- arrive there, as long as it sees the row change.
-- It has no unique index: a subscriber whose own row exists could not copy that of the publisher.
CREATE TABLE IF NOT EXISTS {echo_table} (
    number bigint NOT NULL,
    at timestamptz NOT NULL CHECK (at BETWEEN '0001-01-02' AND '9000-01-01'),
    -- Seconds within which the next change is due; NULL after the last worker has ended.
    due_within double precision
);

-- A published table without a primary key allows UPDATE only with a replica identity.
ALTER TABLE {echo_table} REPLICA IDENTITY FULL;
