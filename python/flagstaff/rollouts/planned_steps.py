"""What a plan does to the users at its next step, and at the last one, which needs no person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.text import capfirst

from flagstaff._tables.rows import FlagRow
from flagstaff._text import localized, say
from flagstaff.actions import Outlook
from flagstaff.changes.consequence import (
    Consequence,
    consequence_of,
    impact_text,
    text_to_type,
    users_text,
)
from flagstaff.changes.impact import impact
from flagstaff.changes.row_states import Impact, RowState
from flagstaff.history.kinds import Kind
from flagstaff.history.user_names import HasPermissions
from flagstaff.rollouts.models import Plan
from flagstaff.rollouts.requirements import enabling_message
from flagstaff.rollouts.steps import Step


@dataclass(frozen=True)
class PlannedSteps:
    """What the next step and the last one do to the users; texts are in the active language."""

    flag: FlagRow
    next: Impact
    last: Impact
    #: What enabling the flag does besides; empty if the flag is not enabled by the plan.
    enabling: str = ""
    #: The versions of the flag and of the plan before.
    version: int | None = None
    plan_version: str = ""

    @property
    def seen(self) -> dict[str, Any]:
        """The arguments by which the action is refused if the flag or the plan has changed."""
        return {"expect_version": self.version, "expect_plan": self.plan_version}

    @property
    def outlook(self) -> Outlook:
        """What lets the action wait."""
        effects = [*self.next.values(), *self.last.values()]
        return Outlook(
            self.flag,
            self.seen,
            self.consequence,
            lambda: " ".join(self.notes),
            all(effect.users is not None for effect in effects),
            self.text_to_type,
            (Plan,),
        )

    @property
    def consequence(self) -> Consequence:
        """That of the last step, at which at least as many users have the flag as at the next."""
        return consequence_of(self.last)

    @property
    def text_to_type(self) -> str:
        """The key, if it must be typed; else an empty text."""
        return text_to_type(self.last)

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """For each of the two steps a label, and how many users have the flag now and then."""
        labels = {
            say("users at the next step, {percent} %"): self.next,
            say("users at the last step, {percent} %"): self.last,
        }
        key = Kind.FLAG, self.flag.key
        return [
            (
                say(label, percent=effects.after[key].row.rollout_percent).local,
                users_text(effects[key], effects[key].on[0]),
                users_text(effects[key], effects[key].on[1]),
            )
            for label, effects in labels.items()
            if key in effects
        ]

    @property
    def notes(self) -> list[str]:
        """What happens to the users at once, and what follows without a person."""
        last = say(
            "The plan can continue to its last step, {percent} %, without another confirmation.",
            percent=self.last.after[Kind.FLAG, self.flag.key].row.rollout_percent,
        ).local
        enabling = say("{sentence}.", sentence=capfirst(localized(self.enabling))).local
        notes = [enabling] if self.enabling else []
        return [*notes, *filter(None, [impact_text(self.next)]), last]


def planned_steps(
    flag: FlagRow,
    steps: Sequence[Step],
    index: int,
    *,
    enable: bool = False,
    viewer: HasPermissions | None = None,
) -> PlannedSteps:
    """Returns what the steps from `index` on do to the users. Counts for at most two seconds.

    `enable` is whether the next step enables a disabled flag.
    """
    now = RowState(Kind.FLAG, flag)
    enabled = {"enabled": True} if enable else {}
    enabling = enabling_message(flag) if enable and not flag.enabled else ""
    first, last = (
        impact([now], [now.after({**enabled, "rollout_percent": step.percent})], viewer=viewer)
        for step in (steps[index], steps[-1])
    )
    return PlannedSteps(flag, first, last, enabling)
