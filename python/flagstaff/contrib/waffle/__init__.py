"""Replaces django-waffle: imports its rows, compares the results, and takes its place."""
