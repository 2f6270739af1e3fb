"""The verbs of `manage.py flags` that are no actions, by what they are about."""
