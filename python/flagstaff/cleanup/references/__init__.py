"""Searches Python and templates for the places that name the key of a flag or a value."""

from __future__ import annotations

from flagstaff.cleanup.references.model import About, Kind, Reference
from flagstaff.cleanup.references.searching import search

__all__ = ["About", "Kind", "Reference", "search"]
