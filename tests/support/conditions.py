"""Conditions of rules and segments."""

from typing import Any

from flagstaff._evaluation import Explained

__all__ = ["condition", "needs", "outcomes_of", "rule"]


def condition(
    attribute: str, operator: str = "in", *values: object, **more: object
) -> dict[str, Any]:
    return {"attribute": attribute, "operator": operator, "values": [*values], **more}


def rule(*conditions: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"conditions": [*conditions], **more}


def needs(key: str, *, is_on: bool = True, percent: int = 100) -> list[dict[str, Any]]:
    """One rule, for those for whom another flag is on, or off."""
    return [rule({"flag": key, "is": is_on}, rollout_percent=percent)]


def outcomes_of(explained: Explained) -> list[str]:
    """Returns what came of each condition that an evaluation has checked."""
    return [step.values["outcome"] for step in explained.steps if "outcome" in step.values]
