"""The verbs of `manage.py flags`, by what they are about."""
