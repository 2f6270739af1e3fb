"""Serialization: flags, values and segments as a file, to export, compare and import."""

from __future__ import annotations

from flagstaff.exceptions import Problem
from flagstaff.serialization.applying import Imported, apply
from flagstaff.serialization.document import Document
from flagstaff.serialization.exporting import export
from flagstaff.serialization.json_format import as_text
from flagstaff.serialization.plan import Plan, Step, diff
from flagstaff.serialization.reading import read

__all__ = [
    "Document",
    "Imported",
    "Plan",
    "Problem",
    "Step",
    "apply",
    "as_text",
    "diff",
    "export",
    "read",
]
