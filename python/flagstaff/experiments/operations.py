"""The migration operation that notifies workers of changed experiments.

A no-op outside PostgreSQL.
"""

from __future__ import annotations

from flagstaff._tables.migrating import WatchAppTable


class WatchExperiments(WatchAppTable):
    """Installs the trigger that writes a change token for each changed experiment."""

    model = "flagstaff_experiments.Experiment"
    relation = "e"

    def describe(self) -> str:
        return "Watch the experiments"

    @property
    def migration_name_fragment(self) -> str:
        return "watch_experiments"
