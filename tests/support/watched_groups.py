"""Installs and removes the triggers of groups, as a project's migration does."""

from __future__ import annotations

from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from flagstaff.operations import WatchGroups


def watch_groups(operation: WatchGroups | None = None, state: ProjectState | None = None) -> None:
    """Installs the triggers on the tables of the newest migrations, or of another state."""
    now = state or _newest_state()
    with connection.schema_editor(atomic=True) as editor:
        (operation or WatchGroups()).database_forwards("shop", editor, now, now)


def unwatch_groups(operation: WatchGroups | None = None, state: ProjectState | None = None) -> None:
    """Reverses `watch_groups`."""
    now = state or _newest_state()
    with connection.schema_editor(atomic=True) as editor:
        (operation or WatchGroups()).database_backwards("shop", editor, now, now)


def _newest_state() -> ProjectState:
    state: ProjectState = MigrationLoader(connection).project_state()
    return state
