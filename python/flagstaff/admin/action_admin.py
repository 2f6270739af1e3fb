"""What the pages of actions ask the admin of a kind of row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from django.http import HttpRequest

from flagstaff._tables.rows import Kind
from flagstaff._text import say
from flagstaff.actions import Action, all_actions
from flagstaff.actions.look import Look
from flagstaff.admin.action_page import ArgumentForm
from flagstaff.admin.base_admin import BaseAdmin
from flagstaff.history.log import has_history, versions_of


class ActionAdmin(BaseAdmin):
    """The actions of a kind of row that have pages, and what the kind adds to these pages."""

    #: The names of actions of the terminal that have no page.
    left_out: ClassVar[Collection[str]] = ()
    #: Whether an argument with the name of a column has its form field. Those of apps are texts.
    has_column_arguments: ClassVar[bool] = True

    @property
    def action_kind(self) -> Kind | str:
        """The kind of row whose actions have pages."""
        return self.row_kind

    @cached_property
    def page_actions(self) -> Mapping[str, Action]:
        """The actions that have pages, by name."""
        # The pages of changes undo and restore.
        actions = (action for action in all_actions(self.action_kind) if not action.undoes)
        return {action.name: action for action in actions if action.name not in self.left_out}

    def prepare_form(
        self, form: ArgumentForm, request: HttpRequest, action: Action, row: Any
    ) -> None:
        """Adapts the form of an action; `row` is None for a new one, or for several."""

    def initial_arguments(self, request: HttpRequest, action: Action, row: Any) -> dict[str, Any]:
        """Returns what is usual, for the arguments of an action that are not columns."""
        return {}

    def require_rights_for_new(self, request: HttpRequest, key: str) -> None:
        """Raises FlagstaffError or PermissionDenied if the user may not create a row of this key.

        Called before anything else is said about the key.
        """

    def notes_before(self, request: HttpRequest, look: Look) -> Iterable[str]:
        """Returns what else a person should know before a change, in sentences."""
        return ()

    def unchanged_text(self, action: Action) -> str:
        """Returns the sentence for an action that would write nothing."""
        return say("Nothing would change.").local

    def summary(self, row: Any) -> str:
        """Returns the sentence that says what a row means after a change."""
        return ""

    def next_steps(self, request: HttpRequest, row: Any) -> Sequence[tuple[str, str]]:
        """Returns the URLs and texts of what a person may do next with a new row."""
        return []

    def versions(self, rows: Sequence[Any]) -> list[str] | None:
        """Returns the present versions of rows, in their order; None without a history."""
        if not has_history():
            return None
        versions = versions_of(self.row_kind, [row.pk for row in rows])
        return [str(versions.get(str(row.pk), 0)) for row in rows]
