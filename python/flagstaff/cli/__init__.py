"""The command `manage.py flags`: one module per group of verbs, and what the verbs share."""
