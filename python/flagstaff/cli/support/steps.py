"""The steps of an evaluation, as `explain` shows them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from flagstaff._engine.explain import Explanation
from flagstaff._engine.forced_off import NOTICE, VARIABLE
from flagstaff.cli.support.cells import Column, Record

__all__ = ["STEPS", "Step", "steps_of"]


@dataclass(frozen=True)
class Step:
    """One condition that an evaluation checks."""

    name: str
    #: Whether the condition is met; None if the evaluation ended before.
    met: bool | None
    #: Whether the result was decided here.
    decides: bool
    why: str

    def as_dict(self) -> Record:
        """Returns a dict for JSON."""
        return asdict(self)


# In the order of evaluation, by the reason of a result that the step decides: the name of the step,
# and what its condition must be for the evaluation to continue.
_STEPS = {
    "ERROR": ("exists", True),
    "DISABLED": ("enabled", True),
    "TARGETING_MATCH": ("allowed", False),
    "STATIC": ("100 %", False),
    "DEFAULT": ("user", True),
    "SPLIT": ("bucket < rollout", None),
}


# What decides in place of the flag's row, in words.
_OVERRIDES = {
    "override_flag": "overridden by a test",
    VARIABLE: NOTICE,
}


def steps_of(explanation: Explanation, user: str | None) -> list[Step]:
    """Returns all steps; one of them decides. `user` is the user in words, None if anonymous."""
    if explanation.override is not None:
        why = _OVERRIDES[explanation.override]
        return [Step("override", met=True, decides=True, why=why)]
    last = list(_STEPS).index(explanation.reason)
    return [
        _step(explanation, user, reason, decides=place == last)
        if place <= last
        else Step(name, met=None, decides=False, why="")
        for place, (reason, (name, _)) in enumerate(_STEPS.items())
    ]


def _step(explanation: Explanation, user: str | None, reason: str, *, decides: bool) -> Step:
    name, continues_if = _STEPS[reason]
    met = explanation.value if continues_if is None else continues_if != decides
    return Step(name, met, decides, _why(explanation, user, reason, met=met))


def _why(explanation: Explanation, user: str | None, reason: str, *, met: bool) -> str:
    bucket, percent = explanation.bucket, explanation.rollout_percent
    sentences = {
        "ERROR": ("the flag exists", "there is no flag with this key, or its row is invalid"),
        "DISABLED": ("the flag is enabled", "the flag is disabled for all users"),
        "TARGETING_MATCH": (
            "the user is an allowed user",
            "the user is not an allowed user" if user else "there is no user",
        ),
        "STATIC": (f"the rollout is {percent} %", f"the rollout is {percent} %"),
        "DEFAULT": (f"the user is {user}", "there is no user"),
        "SPLIT": (f"{bucket} is below {percent}", f"{bucket} is not below {percent}"),
    }
    return sentences[reason][0 if met else 1]


def _style(record: Record) -> str | None:
    return "MIGRATE_LABEL" if record["decides"] else None


#: The table of the steps.
STEPS = (
    Column("decides", lambda record: "▸" if record["decides"] else "", header=""),
    Column("name", header="STEP", style=_style),
    Column("met", header="", style=_style),
    Column("why", header="", style=_style, truncate=True),
)
