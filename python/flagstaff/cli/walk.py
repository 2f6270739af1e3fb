"""An explanation → the steps of the walk that it is the end of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from flagstaff._engine.explain import Explanation
from flagstaff.cli.cells import Column, Record

__all__ = ["STEPS", "Step", "walk"]


@dataclass(frozen=True)
class Step:
    """A question of the walk."""

    name: str
    #: What it was answered; None where the walk ended before.
    met: bool | None
    decides: bool
    why: str

    def as_dict(self) -> dict[str, Any]:
        """The same as a dict that JSON can hold."""
        return asdict(self)


# In the order of the walk, by the reason that an answer has if the walk ends there: the step, and
# what it must be answered for the walk to go on.
_ORDER = {
    "ERROR": ("exists", True),
    "DISABLED": ("enabled", True),
    "TARGETING_MATCH": ("allowed", False),
    "STATIC": ("100 %", False),
    "DEFAULT": ("user", True),
    "SPLIT": ("bucket < rollout", None),
}


def walk(explanation: Explanation, user: str | None) -> list[Step]:
    """Every step, with the one that decided marked. `user` is whoever asks, in words."""
    if explanation.rollout_percent is None and explanation.error_code is None:
        return [Step("override", met=True, decides=True, why="set for this process by a test")]
    end = list(_ORDER).index(explanation.reason)
    return [
        _step(explanation, user, reason, decides=place == end)
        if place <= end
        else Step(name, met=None, decides=False, why="")
        for place, (reason, (name, _)) in enumerate(_ORDER.items())
    ]


def _step(explanation: Explanation, user: str | None, reason: str, *, decides: bool) -> Step:
    name, goes_on = _ORDER[reason]
    met = explanation.value if goes_on is None else goes_on != decides
    return Step(name, met, decides, _why(explanation, user, reason, met=met))


def _why(explanation: Explanation, user: str | None, reason: str, *, met: bool) -> str:
    bucket, percent = explanation.bucket, explanation.rollout_percent
    words = {
        "ERROR": ("there is a flag with this key", "no flag with this key can be evaluated"),
        "DISABLED": ("the flag is on", "the flag is off, for everybody"),
        "TARGETING_MATCH": (
            "the allow-list names the user",
            "the allow-list does not name the user" if user else "nobody asks",
        ),
        "STATIC": (f"the rollout is {percent} %", f"the rollout is {percent} %"),
        "DEFAULT": (f"{user} asks", "nobody is logged in"),
        "SPLIT": (f"{bucket} is below {percent}", f"{bucket} is not below {percent}"),
    }
    return words[reason][0 if met else 1]


def _role(record: Record) -> str | None:
    return "MIGRATE_LABEL" if record["decides"] else None


STEPS = (
    Column("decides", header="", shown=lambda record: "▸" if record["decides"] else ""),
    Column("name", header="STEP", role=_role),
    Column("met", header="", role=_role),
    Column("why", header="", role=_role, cut=True),
)
