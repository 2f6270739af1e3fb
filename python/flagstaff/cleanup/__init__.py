"""Clean-up: find flags that have done their work, and the code that still evaluates them.

An app of its own: add "flagstaff.cleanup" to INSTALLED_APPS.
"""
