"""The steps of an evaluation as the table of `explain`."""

from __future__ import annotations

from flagstaff._engine.explain import Explanation, ValueExplanation
from flagstaff._engine.steps import EvaluationStep, unit_of
from flagstaff._engine.steps import steps_of as steps_with_hint
from flagstaff._engine.value_steps import steps_of_value as value_steps_with_hint
from flagstaff._tables.bucket_units import USER
from flagstaff._words.cells import Column, Record


def steps_of(explanation: Explanation, user: str | None) -> list[EvaluationStep]:
    """Returns all steps; one of them decides. `user` is the user in words, None if anonymous."""
    return steps_with_hint(explanation, user, _hint)


def steps_of_value(explanation: ValueExplanation) -> list[EvaluationStep]:
    """Returns all steps of a value; one of them decides. None shows the value."""
    return value_steps_with_hint(explanation, _hint)


def _hint(example: str) -> str:
    return f" (pass --context {example})"


def unit_text(explanation: Explanation | ValueExplanation) -> str:
    """Returns a sentence about the bucket of another unit than the user, or ""."""
    unit, bucket = unit_of(explanation), explanation.bucket
    if unit == USER:
        return ""
    found = "which is missing" if bucket is None else f"bucket {bucket}"
    return f" It is bucketed by {unit}, {found}."


def _name_text(record: Record) -> str:
    return f"{'  ' * record['level']}{record['name']}"


def _style(record: Record) -> str | None:
    return "MIGRATE_LABEL" if record["decides"] else None


#: The table of the steps.
STEPS = (
    Column("decides", lambda record: "▸" if record["decides"] else "", header=""),
    Column("name", _name_text, header="STEP", style=_style),
    Column("met", header="", style=_style),
    Column("why", header="", style=_style, truncate=True),
)
