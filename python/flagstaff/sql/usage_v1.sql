-- How often each flag was asked for, by hour, and the workers that have told of it.
CREATE TABLE IF NOT EXISTS {usage_table} (
    hour timestamptz NOT NULL,
    key text NOT NULL,
    -- Whether there was a flag of this key.
    defined boolean NOT NULL,
    false_count bigint NOT NULL,
    true_count bigint NOT NULL,
    last_evaluated_at timestamptz NOT NULL,
    PRIMARY KEY (hour, key, defined)
);
CREATE INDEX IF NOT EXISTS flagstaff_usage_key ON {usage_table} (key, hour);

-- A row per engine of a process. Its number is that of the last flush that counted, and stopped_at
-- its farewell.
CREATE TABLE IF NOT EXISTS {usage_worker_table} (
    worker text PRIMARY KEY,
    host text NOT NULL,
    pid bigint NOT NULL,
    started_at timestamptz NOT NULL,
    -- Seconds between two flushes.
    flush_interval double precision NOT NULL,
    sequence bigint NOT NULL,
    last_seen_at timestamptz NOT NULL,
    stopped_at timestamptz
);
