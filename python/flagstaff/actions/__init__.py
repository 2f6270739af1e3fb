"""What operators do to rows such as flags: a table of actions, which the terminal renders.

An app adds its own with the hook `actions`: see `flagstaff.extensions`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from flagstaff._tables.rows import Kind
from flagstaff.actions.arguments import Argument, Percent, Text
from flagstaff.actions.flags import FLAG_ACTIONS
from flagstaff.actions.segments import SEGMENT_ACTIONS
from flagstaff.actions.table import Action, Done, action
from flagstaff.actions.values import VALUE_ACTIONS
from flagstaff.extensions import ACTIONS

__all__ = [
    "Action",
    "Argument",
    "Done",
    "Kind",
    "Percent",
    "Text",
    "action",
    "all_actions",
]


def all_actions(kind: Kind | str) -> Iterator[Action]:
    """Yields the actions of one kind of row, in the order of the help, then those of apps."""
    # The code of apps is imported only if none of the first is taken.
    actions = chain(FLAG_ACTIONS, VALUE_ACTIONS, SEGMENT_ACTIONS, chain.from_iterable(ACTIONS))
    yield from (action for action in actions if action.kind == kind)
