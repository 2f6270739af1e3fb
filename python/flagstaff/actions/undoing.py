"""The actions of all rows with a history that take changes back: undo and restore."""

from __future__ import annotations

from typing import Annotated

from flagstaff.actions.arguments import Parsed
from flagstaff.actions.table import Action, action
from flagstaff.changes import Changed
from flagstaff.changes.undo import restore_row, undo_event
from flagstaff.history.kinds import Kind

_Version = Annotated[int, Parsed("a version that `history` shows", "VERSION", int, is_word=True)]


def undo_actions(kind: Kind, key: str) -> tuple[Action, Action]:
    """Returns `undo` and `restore` of a kind of row. `key` is that of the examples."""
    verb = "" if kind is Kind.FLAG else f"{kind.value} "

    @action(kind, f"{verb}undo {key}", f"{verb}undo {key} 17", undoes=True, may_wait=False)
    def undo(
        key: str, version: _Version | None = None, *, expect_version: int | None = None
    ) -> Changed:
        """Undo one change, by default the newest.

        Newer changes of other fields stay. If the same field has been changed again since then, the
        undo is refused: the message says what is in the field now. Also takes the key of a row that
        was deleted.
        """
        return undo_event(kind, key, version, expect_version=expect_version)

    @action(
        kind,
        f"{verb}restore {key} 17",
        f"{verb}restore {key} 17 --dry-run",
        undoes=True,
        may_wait=False,
    )
    def restore(key: str, version: _Version, *, expect_version: int | None = None) -> Changed:
        """Restore the state after a change, by undoing all newer changes.

        Also takes the key of a row that was deleted. Users who no longer exist are skipped and
        listed.
        """
        return restore_row(kind, key, to=version, expect_version=expect_version)

    return undo, restore
