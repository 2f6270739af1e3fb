-- The workers that have written a report: usage, measurements of rollout plans, or exposures of
-- experiments. One row per worker and report, so that the sequence numbers of two reports are
-- independent. All times but started_at are those of the database's clock, and all are times that
-- Python can represent.
CREATE TABLE IF NOT EXISTS {report_table} (
    -- A random name that no other worker, report or restart has.
    worker text PRIMARY KEY,
    -- "usage", "measurements" or "exposures".
    report text NOT NULL,
    host text NOT NULL,
    pid bigint NOT NULL,
    started_at timestamptz NOT NULL CHECK (started_at BETWEEN '0001-01-02' AND '9000-01-01'),
    -- Seconds between two flushes.
    flush_interval double precision NOT NULL,
    -- The number of the last accepted flush.
    sequence bigint NOT NULL,
    last_seen_at timestamptz NOT NULL CHECK (last_seen_at BETWEEN '0001-01-02' AND '9000-01-01'),
    -- A worker without a flush until then is lost, unless it has reported its end.
    expected_by timestamptz NOT NULL CHECK (expected_by BETWEEN '0001-01-02' AND '9000-01-01'),
    -- The time of its last report; NULL until then.
    stopped_at timestamptz CHECK (stopped_at BETWEEN '0001-01-02' AND '9000-01-01'),
    -- The build that it runs; empty if the project names none.
    release text NOT NULL DEFAULT ''
);
