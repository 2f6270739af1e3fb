-- Removes one user from the history: as the actor, and from the added and removed users.
-- The arrays hold integers or texts; both are compared as text.
WITH forgotten_user (pk) AS (
    SELECT %s::text
), updated AS (
    UPDATE {change_table} AS change
    SET
        actor = nullif(change.actor, forgotten_user.pk),
        old = CASE WHEN relation = 'm' THEN (
            SELECT coalesce(jsonb_agg(user_pk ORDER BY place), '[]')
            FROM jsonb_array_elements(change.old) WITH ORDINALITY AS removed (user_pk, place)
            WHERE user_pk #>> '{}' <> forgotten_user.pk
        ) ELSE change.old END,
        new = CASE WHEN relation = 'm' THEN (
            SELECT coalesce(jsonb_agg(user_pk ORDER BY place), '[]')
            FROM jsonb_array_elements(change.new) WITH ORDINALITY AS added (user_pk, place)
            WHERE user_pk #>> '{}' <> forgotten_user.pk
        ) ELSE change.new END
    FROM forgotten_user
    WHERE change.actor = forgotten_user.pk OR CASE WHEN relation = 'm' THEN EXISTS (
        SELECT FROM jsonb_array_elements(change.old || change.new) AS changed (user_pk)
        WHERE user_pk #>> '{}' = forgotten_user.pk
    ) ELSE false END
    RETURNING 1
)
SELECT count(*) FROM updated
