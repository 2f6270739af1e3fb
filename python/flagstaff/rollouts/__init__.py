"""Rollout plans: raise the rollout of a flag step by step, with guards that stop it.

An app of its own: add "flagstaff.rollouts" to INSTALLED_APPS, and run `manage.py flags run-jobs`.
"""
