-- Reverses webhooks_v1.
DROP INDEX IF EXISTS {schema}.flagstaff_change_transaction;
DROP TABLE IF EXISTS {delivery_table};
DROP TABLE IF EXISTS {receiver_table};
