"""Conditions of rules and segments."""

from __future__ import annotations

from typing import Any

__all__ = ["condition"]


def condition(
    attribute: str, operator: str = "in", *values: object, **more: object
) -> dict[str, Any]:
    return {"attribute": attribute, "operator": operator, "values": [*values], **more}
