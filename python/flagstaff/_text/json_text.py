"""JSON that Python can decode."""

from __future__ import annotations

import json
from typing import Any

from flagstaff._core import json_problem

__all__ = ["parse_json", "why_undecodable"]


def parse_json(text: str) -> Any:
    """Returns the value of a JSON text, which may come from anybody. Raises ValueError."""
    if problem := why_undecodable(text):
        raise ValueError(f"it {problem}")
    return json.loads(text)


def why_undecodable(text: str) -> str | None:
    """Returns why Python cannot decode a JSON text, whatever its syntax; None if it can.

    `json.loads` raises RecursionError for deep nesting.
    """
    # Rust accepts no half of a surrogate pair.
    return json_problem(text.encode(errors="replace").decode())
