"""Flags and values as a file: written for git and for people, and taken in again as one change."""

from __future__ import annotations

from flagstaff.portable.applying import Imported, apply
from flagstaff.portable.difference import Plan, Step, difference
from flagstaff.portable.document import Document, Problem
from flagstaff.portable.exporting import export
from flagstaff.portable.reading import read
from flagstaff.portable.text import as_text

__all__ = [
    "Document",
    "Imported",
    "Plan",
    "Problem",
    "Step",
    "apply",
    "as_text",
    "difference",
    "export",
    "read",
]
