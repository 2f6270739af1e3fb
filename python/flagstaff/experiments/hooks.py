"""What the core of flagstaff reads and calls of experiments."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.db import DatabaseError

from flagstaff._tables.database import Reading, db
from flagstaff._tables.rows import all_rows
from flagstaff._tables.user_lookup import forget_actor
from flagstaff.experiments.models import Experiment, ExperimentEvent, Exposure, State
from flagstaff.extensions import OtherRules


def keys() -> Mapping[str, Collection[str]]:
    """Returns the keys of all experiments. Makes one query."""
    rows = db.rows(Experiment)
    try:
        with db.atomic():
            return {"experiment": {*rows.values_list("key", flat=True)}}
    except DatabaseError:
        # Before the migration.
        return {}


def rules() -> Reading:
    """Reads the rules of all experiments."""
    experiments = yield db.rows(Experiment).only("key", "state", "rules", "bucket_by")
    return [
        OtherRules(
            Experiment,
            row.pk,
            row.key,
            row.rules,
            row.bucket_by,
            is_active=row.state == State.RUNNING,
            is_over=row.state == State.SHIPPED,
        )
        for row in sorted(experiments, key=lambda row: row.key)
    ]


def forget_user(pk: str) -> None:
    """Removes the exposures of a user, the overrides that name the user, and the actor of events.

    The exposures of a visitor are removed if the visitor was known to be this user. Reports then
    count fewer units. Those of other units, such as companies, only lose the user. Texts of events
    may still name the user.
    """
    with db.atomic():
        exposures = db.rows(Exposure)
        by_visitor = exposures.filter(experiment__bucket_by="visitor")
        # Also those from before the login, and in experiments that the user met as a stranger.
        visitors = list(by_visitor.filter(user_pk=pk).values_list("unit", flat=True).distinct())
        by_visitor.filter(unit__in=visitors).delete()
        exposures.filter(user_pk=pk).update(user_pk=None)
        by_user = db.rows(Experiment).filter(bucket_by="user")
        exposures.filter(
            experiment_id__in=list(by_user.values_list("pk", flat=True)), unit=pk
        ).delete()
        for experiment in by_user.select_for_update().filter(overrides__has_key=pk):
            # Those that SQL has broken decide nothing, and must not name the user either.
            present = experiment.overrides if isinstance(experiment.overrides, dict) else {}
            experiment.overrides = {
                unit: variant for unit, variant in present.items() if unit != pk
            }
            experiment.save(using=db.alias, update_fields=["overrides"])
        forget_actor(all_rows(ExperimentEvent), pk)
