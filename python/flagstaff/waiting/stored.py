"""A stored action as the code has it now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from flagstaff._tables.rows import Row, all_rows
from flagstaff._words.text import some
from flagstaff.actions import Action, all_actions
from flagstaff.actions.running import Run
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.kinds import Kind
from flagstaff.models import WaitingAction


def stored_run(waiting: WaitingAction) -> Run:
    """Returns what a stored action runs now.

    Raises FlagstaffError if a new version of the code has no such action or argument, or if a row
    is gone.
    """
    action = stored_action(waiting)
    declared = dict(_declared(action))
    unknown = waiting.arguments.keys() - declared.keys()
    missing = {name for name, required in declared.items() if required} - waiting.arguments.keys()
    if unknown or missing:
        raise FlagstaffError(
            "the arguments of {name} have changed since this was asked for: {arguments}; cancel "
            "this one, and ask for it again",
            name=waiting.action,
            arguments=some(sorted(unknown | missing)),
        )
    return Run(action, waiting.keys, _present_rows(action, waiting.keys), waiting.arguments)


def stored_action(waiting: WaitingAction) -> Action:
    """Returns the action of this name. Raises FlagstaffError if the code has none any more."""
    found = (one for one in all_actions(_stored_kind(waiting.kind)) if one.name == waiting.action)
    action = next(found, None)
    if action is None:
        raise FlagstaffError(
            "there is no action {name} of a {kind} any more; cancel this one, and ask for another",
            name=waiting.action,
            kind=waiting.kind,
        )
    return action


def _present_rows(action: Action, keys: Sequence[str]) -> list[Row]:
    """Returns the rows of an action, in the order of the keys. Raises the error of an unknown one.

    An action that creates a row has none, and neither has one of an app.
    """
    kind = action.kind
    if action.creates or not isinstance(kind, Kind):
        return []
    found = {row.key: row for row in all_rows(kind.model).filter(key__in=keys)}
    return [found[key] if key in found else kind.row(key) for key in keys]


def _stored_kind(name: str) -> Kind | str:
    return next((kind for kind in Kind if kind.value == name), name)


def _declared(action: Action) -> Iterator[tuple[str, bool]]:
    """Yields the names of the arguments, and whether each is required."""
    for name, (argument, required) in action.arguments().items():
        columns: Mapping[str, object] | None = getattr(argument, "columns", None)
        yield from ((one, required) for one in ([name] if columns is None else columns))
