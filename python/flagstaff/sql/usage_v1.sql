-- Usage: how often each flag was evaluated, by hour, and the workers that have reported it. Times
-- are those that Python can represent.
CREATE TABLE IF NOT EXISTS {usage_table} (
    hour timestamptz NOT NULL CHECK (hour BETWEEN '0001-01-02' AND '9000-01-01'),
    key text NOT NULL,
    -- Whether a flag with this key existed.
    defined boolean NOT NULL,
    false_count bigint NOT NULL,
    true_count bigint NOT NULL,
    last_evaluated_at timestamptz NOT NULL
        CHECK (last_evaluated_at BETWEEN '0001-01-02' AND '9000-01-01'),
    PRIMARY KEY (hour, key, defined)
);
CREATE INDEX IF NOT EXISTS flagstaff_usage_key ON {usage_table} (key, hour);

-- One row per worker. sequence is the number of its last accepted flush, and stopped_at the time of
-- its last report.
CREATE TABLE IF NOT EXISTS {usage_worker_table} (
    worker text PRIMARY KEY,
    host text NOT NULL,
    pid bigint NOT NULL,
    started_at timestamptz NOT NULL CHECK (started_at BETWEEN '0001-01-02' AND '9000-01-01'),
    -- Seconds between two flushes.
    flush_interval double precision NOT NULL,
    sequence bigint NOT NULL,
    last_seen_at timestamptz NOT NULL CHECK (last_seen_at BETWEEN '0001-01-02' AND '9000-01-01'),
    stopped_at timestamptz CHECK (stopped_at BETWEEN '0001-01-02' AND '9000-01-01')
);
