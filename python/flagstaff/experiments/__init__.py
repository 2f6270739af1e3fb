"""Experiments: give each user one of several variants, and measure what they do.

An app of its own: add "flagstaff.experiments" to INSTALLED_APPS.
"""
