-- Whether each of the two tables has the four triggers of group_triggers_v1, which fire in every
-- session, and whether the body of their function is this one.
SELECT
    pg_catalog.count(*) OPERATOR(pg_catalog.=) 8,
    pg_catalog.bool_and(p.prosrc OPERATOR(pg_catalog.=) %s)
FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
WHERE t.tgrelid OPERATOR(pg_catalog.=)
        ANY (ARRAY[pg_catalog.to_regclass(%s), pg_catalog.to_regclass(%s)]::oid[])
    AND t.tgname OPERATOR(pg_catalog.=) ANY (ARRAY[
        'flagstaff_groups_insert_v1', 'flagstaff_groups_update_v1',
        'flagstaff_groups_delete_v1', 'flagstaff_groups_truncate_v1'
    ]::name[])
    AND t.tgenabled OPERATOR(pg_catalog.=) 'A'
    AND p.oid OPERATOR(pg_catalog.=) pg_catalog.to_regprocedure(%s)::oid
