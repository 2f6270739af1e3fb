"""Replaces django-waffle: imports its rows, compares the results, and takes its place."""

from __future__ import annotations

from flagstaff.contrib.waffle.installing import install

__all__ = ["install"]
