-- Whether this role may create a barrier; NULL if the function does not exist.
SELECT pg_catalog.has_function_privilege(pg_catalog.to_regprocedure(%s)::oid, 'EXECUTE')
