-- The register of workers: a row for each process that evaluates from memory, which only
-- flagstaff_worker_v1 writes. A worker reports after each load, and about every 20 s; behind replication
-- after each barrier that asks it, and about every two minutes.
CREATE TABLE IF NOT EXISTS {worker_table} (
    -- The SHA-256 of a random text that only the worker knows.
    worker text PRIMARY KEY,
    host text NOT NULL,
    pid bigint NOT NULL,
    -- The newest format of rules that it can read.
    rule_format bigint NOT NULL,
    mode text NOT NULL CHECK (mode IN ('live', 'poll', 'reload')),
    -- The id and the random number of the newest token in the snapshot that it serves; 0 without one.
    token bigint NOT NULL,
    nonce bigint NOT NULL,
    -- The role that it has logged in with.
    role oid NOT NULL,
    -- Its backend; NULL behind a pooler, where other clients share it.
    session integer,
    -- All times are those of the database's clock, and all are times that Python has.
    started_at timestamptz NOT NULL CHECK (started_at BETWEEN '0001-01-02' AND '9000-01-01'),
    seen_at timestamptz NOT NULL CHECK (seen_at BETWEEN '0001-01-02' AND '9000-01-01'),
    -- A worker without a connection of its own is lost after this time.
    expected_by timestamptz NOT NULL CHECK (expected_by BETWEEN '0001-01-02' AND '9000-01-01'),
    -- The setting REGION of the worker.
    region text NOT NULL DEFAULT '',
    -- Whether it reads a standby or a subscriber. Its row stays for a day, so that its region is missed.
    is_replicated boolean NOT NULL DEFAULT false,
    -- The system identifier and the timeline of the standby that it reads; '' and 0 if they are unknown.
    system text NOT NULL DEFAULT '',
    timeline bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
