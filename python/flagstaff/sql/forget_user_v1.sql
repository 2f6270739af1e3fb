-- Removes one user from the history: as the actor, and from the added and removed users.
-- The arrays hold integers or texts; both are compared as text. Of an actor of two users, the other
-- one stays: see forget_actor.
WITH forgotten_user (pk) AS (
    SELECT %s::text
), updated AS (
    UPDATE {change_table} AS change
    SET
        actor = CASE WHEN change.actor OPERATOR(pg_catalog.<>) forgotten_user.pk
            THEN pg_catalog.array_to_string(pg_catalog.array_replace(
                pg_catalog.string_to_array(change.actor, ' as '), forgotten_user.pk,
                'a deleted user'
            ), ' as ') END,
        old = CASE WHEN relation OPERATOR(pg_catalog.=) 'm' THEN (
            SELECT coalesce(pg_catalog.jsonb_agg(user_pk ORDER BY place), '[]')
            FROM pg_catalog.jsonb_array_elements(change.old)
                WITH ORDINALITY AS removed (user_pk, place)
            WHERE (user_pk OPERATOR(pg_catalog.#>>) '{}') OPERATOR(pg_catalog.<>) forgotten_user.pk
        ) ELSE change.old END,
        new = CASE WHEN relation OPERATOR(pg_catalog.=) 'm' THEN (
            SELECT coalesce(pg_catalog.jsonb_agg(user_pk ORDER BY place), '[]')
            FROM pg_catalog.jsonb_array_elements(change.new)
                WITH ORDINALITY AS added (user_pk, place)
            WHERE (user_pk OPERATOR(pg_catalog.#>>) '{}') OPERATOR(pg_catalog.<>) forgotten_user.pk
        ) ELSE change.new END
    FROM forgotten_user
    WHERE change.actor OPERATOR(pg_catalog.=) forgotten_user.pk
        OR forgotten_user.pk OPERATOR(pg_catalog.=)
            ANY (pg_catalog.string_to_array(change.actor, ' as '))
        OR CASE WHEN relation OPERATOR(pg_catalog.=) 'm' THEN EXISTS (
            SELECT
            FROM pg_catalog.jsonb_array_elements(change.old OPERATOR(pg_catalog.||) change.new)
                AS changed (user_pk)
            WHERE (user_pk OPERATOR(pg_catalog.#>>) '{}') OPERATOR(pg_catalog.=) forgotten_user.pk
        ) ELSE false END
    RETURNING 1
)
SELECT pg_catalog.count(*) FROM updated
