"""Changes of flags that the rules of an experiment need: its events, and what its report counts."""

from __future__ import annotations

from datetime import datetime, timezone
from threading import Event

import pytest

from flagstaff import acting_as, changes, experiments
from flagstaff.experiments.jobs import store_verdicts
from flagstaff.experiments.models import Experiment, ExperimentEvent, Exposure
from tests.support.conditions import needs
from tests.support.experiments import DAY, KEY
from tests.support.fixtures import COMMITTED
from tests.support.shop import Shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def needing(better: Experiment, shop: Shop) -> Experiment:
    """A running experiment whose units the flag `search_v2` lets in."""
    shop.flag("search_v2", rollout_percent=50)
    Experiment.objects.update(rules=needs("search_v2"))
    return Experiment.objects.get()


def moves() -> list[tuple[str, str]]:
    events = ExperimentEvent.objects.filter(kind="moved").order_by("id")
    return [*events.values_list("actor", "message")]


@COMMITTED
def test_change_of_a_needed_flag_is_an_event_once(needing: Experiment) -> None:
    store_verdicts(Event())
    before = moves()
    with acting_as("ana"):
        changes.flags.set_rollout("search_v2", 60)
        changes.flags.update("search_v2", description="Faster")
    for _ in range(2):
        store_verdicts(Event())
        [(actor, message)] = moves()[len(before) :]
        assert actor == "ana"
        assert message.startswith("changed, and its rules depend on it: search_v2; results count")


@COMMITTED
def test_event_does_not_name_what_a_needed_flag_needs(needing: Experiment) -> None:
    changes.flags.create("merger", enabled=True, rollout_percent=100)
    changes.flags.update("search_v2", rules=needs("merger"))
    store_verdicts(Event())
    changes.flags.disable("merger")
    store_verdicts(Event())
    message = moves()[-1][1]
    assert "depend on it: a flag that another flag or a segment needs; results" in message


def test_report_counts_the_units_from_the_change_on(needing: Experiment) -> None:
    at = datetime.now(timezone.utc) - 7 * DAY
    ExperimentEvent.objects.create(experiment=needing, kind="moved", at=at, message="changed")
    later = Exposure.objects.filter(at__gte=at).count()
    metric = experiments.report(KEY)["metrics"][0]
    assert 0 < metric["units"] == later < 4000
    assert "that the rules need was changed at" in str(metric["warning"])


def test_change_before_a_restart_does_not_count(needing: Experiment) -> None:
    began = needing.started_at
    assert began is not None
    ExperimentEvent.objects.create(
        experiment=needing, kind="moved", at=began - DAY, message="changed"
    )
    metric = experiments.report(KEY)["metrics"][0]
    assert (metric["units"], metric["warning"]) == (4000, None)
