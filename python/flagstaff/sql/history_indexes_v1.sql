-- Finds recent changes of one actor, of a time, and creations and deletions among many changes.
CREATE INDEX IF NOT EXISTS flagstaff_change_actor ON {change_table} (actor, id)
    WHERE actor IS NOT NULL;
-- Changes without an actor are searched by what else is known about them.
CREATE INDEX IF NOT EXISTS flagstaff_change_user ON {change_table} ("session_user", id)
    WHERE actor IS NULL;
CREATE INDEX IF NOT EXISTS flagstaff_change_source ON {change_table} (source, id)
    WHERE actor IS NULL;
CREATE INDEX IF NOT EXISTS flagstaff_change_at ON {change_table} (at);
CREATE INDEX IF NOT EXISTS flagstaff_change_action ON {change_table} (action, id)
    WHERE relation OPERATOR(pg_catalog.<>) 'm' AND action OPERATOR(pg_catalog.<>) 'update';
