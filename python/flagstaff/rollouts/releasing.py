"""What a plan does to the users at its next step, and at the last one, which needs no person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.rows import FlagRow
from flagstaff._words.text import localized
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.planned import Planned, impact_text, planned, user_counts
from flagstaff.rollouts.conditions import enabling_message
from flagstaff.rollouts.steps import Step

_ALL = 100


@dataclass(frozen=True)
class PlannedSteps:
    """The changes of the flag by the next step and by the last one."""

    next: Planned
    last: Planned
    #: What enabling the flag does besides; empty if the flag is not enabled by the plan.
    enabling: str = ""

    @property
    def consequence(self) -> Consequence:
        """The larger one of the two steps."""
        return max(self.next.consequence, self.last.consequence)

    @property
    def text_to_type(self) -> str:
        """The key, if one of the steps needs it to be typed; else an empty text."""
        return self.next.text_to_type or self.last.text_to_type

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """For each of the two steps a label, and how many users have the flag now and then."""
        labels = {
            _("users at the next step, %(percent)s %%"): self.next,
            _("users at the last step, %(percent)s %%"): self.last,
        }
        return [
            (label % {"percent": one.after.rollout_percent}, *user_counts(one.impact))
            for label, one in labels.items()
        ]

    @property
    def notes(self) -> list[str]:
        """What happens to the users at once, and what follows without a person."""
        text = _(
            "The plan can continue to its last step, %(percent)s %%, without another confirmation."
        )
        last = text % {"percent": self.last.after.rollout_percent}
        enabling = _("%(sentence)s.") % {"sentence": capfirst(localized(self.enabling))}
        notes = [enabling] if self.enabling else []
        if self.is_decided_by_rules:
            notes.append(
                _(
                    "Rules and allowed users decide for all of these users: the steps change "
                    "nothing for them, and guards cannot compare. Change the rules first."
                )
            )
        return [*notes, *(one for one in (impact_text(self.next), last) if one)]

    @property
    def is_decided_by_rules(self) -> bool:
        """Whether all users have the flag at the next step, although its rollout is below 100 %."""
        impact, after = self.next.impact, self.next.after
        is_partial = bool(after.rules) and after.rollout_percent < _ALL
        return is_partial and impact is not None and 0 < impact.users == impact.after.on


def planned_steps(
    flag: FlagRow, steps: Sequence[Step], index: int, *, enable: bool = False
) -> PlannedSteps:
    """Returns what the steps from `index` on do to the users. Counts for at most two seconds.

    `enable` is whether the next step enables a disabled flag.
    """
    now = FlagState.of(flag)
    base = replace(now, enabled=True) if enable else now
    enabling = enabling_message(flag) if enable and not flag.enabled else ""
    first, last = (
        replace(base, rollout_percent=step.percent) for step in (steps[index], steps[-1])
    )
    at_next = planned(flag.key, now, first)
    if first == last:
        return PlannedSteps(at_next, at_next, enabling)
    if at_next.impact is None:
        # A second count would take as long, and fail, too.
        return PlannedSteps(at_next, Planned(flag.key, now, last, None), enabling)
    return PlannedSteps(at_next, planned(flag.key, now, last), enabling)
