-- Take one user out of the history: as an actor, and out of the lists of those that added and removed.
-- The arrays hold integers or texts, which are compared as texts.
WITH person (pk) AS (
    SELECT %s::text
), forgotten AS (
    UPDATE {change_table} AS change
    SET
        actor = nullif(change.actor, person.pk),
        old = CASE WHEN relation = 'm' THEN (
            SELECT coalesce(jsonb_agg(one ORDER BY place), '[]')
            FROM jsonb_array_elements(change.old) WITH ORDINALITY AS user_of (one, place)
            WHERE one #>> '{}' <> person.pk
        ) ELSE change.old END,
        new = CASE WHEN relation = 'm' THEN (
            SELECT coalesce(jsonb_agg(one ORDER BY place), '[]')
            FROM jsonb_array_elements(change.new) WITH ORDINALITY AS user_of (one, place)
            WHERE one #>> '{}' <> person.pk
        ) ELSE change.new END
    FROM person
    WHERE change.actor = person.pk OR CASE WHEN relation = 'm' THEN EXISTS (
        SELECT FROM jsonb_array_elements(change.old || change.new) AS user_of (one)
        WHERE one #>> '{}' = person.pk
    ) ELSE false END
    RETURNING 1
)
SELECT count(*) FROM forgotten
