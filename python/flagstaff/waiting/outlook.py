"""Will it run? Asked whenever an action that waits is shown, without counting users."""

from __future__ import annotations

from collections.abc import Iterable

from flagstaff._text import say, some
from flagstaff.history.kinds import Kind
from flagstaff.history.log import versions_of
from flagstaff.models import WaitingAction


def foresee(actions: Iterable[WaitingAction]) -> list[WaitingAction]:
    """Returns the same actions, with `obstacle` set for those that will not run.

    Makes a constant number of queries, and counts no users. The texts, the labels and the colours
    of an action follow `obstacle`, so call this before an action is shown.
    """
    actions = [*actions]
    waiting = [action for action in actions if action.state in WaitingAction.OPEN]
    for kind in Kind:
        of_kind = [action for action in waiting if action.kind == kind.value]
        if not of_kind:
            continue
        keys = {key for action in of_kind for key in action.versions}
        rows = {row.key: str(row.pk) for row in kind.model._base_manager.filter(key__in=keys)}
        versions = versions_of(kind, rows.values())
        for action in of_kind:
            changed = [
                key
                for key, version in action.versions.items()
                if versions.get(rows.get(key, ""), 0) != version
            ]
            if changed:
                action.obstacle = say(
                    "{keys} was changed after this was asked for", keys=some(changed)
                )
    return actions
