"""Measures the search for references on code whose references are known.

Copies code bases that use django-waffle, adds planted files, and compares what the search finds
with what Python's own `ast` finds. Then `flags rewrite waffle` rewrites the copy, for the patches.
"""

from __future__ import annotations

import os

import django

# The rewriting reads the settings and the models.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.settings")
django.setup()
