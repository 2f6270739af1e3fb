-- Takes back usage_v1. Workers that run on find that they cannot write, and say so once.
DROP TABLE IF EXISTS {usage_worker_table};
DROP TABLE IF EXISTS {usage_table};
