"""The migration operation that notifies workers of changed plans. A no-op outside PostgreSQL."""

from __future__ import annotations

from flagstaff._tables.migrating import WatchAppTable


class WatchPlans(WatchAppTable):
    """Installs the trigger that writes a change token for each changed plan."""

    model = "flagstaff_rollouts.Plan"
    relation = "p"

    def describe(self) -> str:
        return "Watch the rollout plans"

    @property
    def migration_name_fragment(self) -> str:
        return "watch_plans"
