"""Measures the search for references on code whose references are known.

Copies code bases that use django-waffle, rewrites their calls to flagstaff's with Python's own
`ast`, adds planted files, and compares what the search finds with what is there.
"""
