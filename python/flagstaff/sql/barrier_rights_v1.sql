-- Whether this role may draw a barrier; NULL where there is no such function.
SELECT pg_catalog.has_function_privilege(pg_catalog.to_regprocedure(%s)::oid, 'EXECUTE')
