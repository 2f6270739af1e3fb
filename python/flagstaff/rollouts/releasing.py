"""What a plan does to the users at its next step, and at the last one, which needs no person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from flagstaff._tables.rows import FlagRow
from flagstaff._words.text import localized
from flagstaff.changes.consequence import (
    Consequence,
    consequence_of,
    impact_text,
    text_to_type,
    users_text,
)
from flagstaff.changes.impact import impact
from flagstaff.changes.row_states import RowState
from flagstaff.history.kinds import Kind
from flagstaff.history.user_names import HasPermissions
from flagstaff.rollouts.conditions import enabling_message
from flagstaff.rollouts.steps import Step


class PlannedSteps(NamedTuple):
    """What the next step and the last one do to the users, in the active language."""

    #: For each of the two steps a label, and how many users have the flag now and then.
    rows: list[tuple[str, str, str]]
    #: What happens to the users at once, and what follows without a person.
    notes: list[str]
    #: That of the last step, at which at least as many users have the flag as at the next one.
    consequence: Consequence
    #: The key, if it must be typed; else an empty text.
    text_to_type: str


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
    now, key = RowState(Kind.FLAG, flag), (Kind.FLAG, flag.key)
    enabled = {"enabled": True} if enable else {}
    first, last = steps[index], steps[-1]
    impacts = [
        impact([now], [now.after({**enabled, "rollout_percent": step.percent})], viewer=viewer)
        for step in (first, last)
    ]
    labels = (
        _("users at the next step, %(percent)s %%") % {"percent": first.percent},
        _("users at the last step, %(percent)s %%") % {"percent": last.percent},
    )
    rows = [
        (label, users_text(found[key], found[key].on[0]), users_text(found[key], found[key].on[1]))
        for label, found in zip(labels, impacts, strict=True)
        if key in found
    ]
    text = _(
        "The plan can continue to its last step, %(percent)s %%, without another confirmation."
    )
    notes = [impact_text(impacts[0]), text % {"percent": last.percent}]
    if enable and not flag.enabled:
        enabling = capfirst(localized(enabling_message(flag)))
        notes.insert(0, _("%(sentence)s.") % {"sentence": enabling})
    return PlannedSteps(
        rows, [*filter(None, notes)], consequence_of(impacts[1]), text_to_type(impacts[1])
    )
