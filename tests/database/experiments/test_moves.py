"""Changes of flags that the rules of an experiment need: its events, and what its report counts."""

from datetime import datetime, timedelta, timezone
from threading import Event

import pytest

from flagstaff import acting_as, changes, experiments
from flagstaff.experiments.jobs import store_verdicts
from flagstaff.experiments.models import Experiment, ExperimentEvent, Exposure
from tests.support.conditions import needs
from tests.support.experiments import DAY, EXPERIMENTS, KEY
from tests.support.fixtures import COMMITTED
from tests.support.screen import Screen
from tests.support.shop import Shop
from tests.support.terminals import run

SECOND = timedelta(seconds=1)


@pytest.fixture
def needing(better: Experiment, shop: Shop) -> Experiment:
    """A running experiment whose units the flag `search_v2` lets in."""
    shop.flag("search_v2", rollout_percent=50)
    Experiment.objects.update(rules=needs("search_v2"))
    return Experiment.objects.get()


@pytest.fixture
def moved_a_week_ago(needing: Experiment) -> datetime:
    """When a needed flag of the experiment was changed."""
    at = datetime.now(timezone.utc) - 7 * DAY
    ExperimentEvent.objects.create(experiment=needing, kind="moved", at=at, message="changed")
    return at


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


def test_report_counts_the_units_from_the_change_on(moved_a_week_ago: datetime) -> None:
    later = Exposure.objects.filter(at__gte=moved_a_week_ago).count()
    metric = experiments.report(KEY)["metrics"][0]
    assert 0 < metric["units"] == later < 4000
    assert "that the rules need was changed at" in str(metric["warning"])


def test_report_has_the_units_whose_windows_were_over_at_the_change(
    moved_a_week_ago: datetime,
) -> None:
    metric = experiments.report(KEY)["metrics"][0]
    before = metric["before"]
    assert before is not None
    assert datetime.fromisoformat(before["until"]) <= moved_a_week_ago
    complete = Exposure.objects.filter(at__lte=moved_a_week_ago - metric["window_seconds"] * SECOND)
    units = {arm: figures["units"] for arm, figures in before["variants"].items()}
    assert units == {arm: complete.filter(variant=arm).count() for arm in units}
    assert 0 < sum(units.values()) < 4000 - metric["units"]


def test_report_has_the_values_from_before_the_change_without_a_test(
    moved_a_week_ago: datetime,
) -> None:
    before = experiments.report(KEY)["metrics"][0]["before"]
    assert before is not None
    assert {name for figures in before["variants"].values() for name in figures} == {
        "units",
        "value",
    }
    values = [figures["value"] for figures in before["variants"].values()]
    assert values == pytest.approx([0.1, 0.16], abs=0.06)


def test_page_and_terminal_show_the_part_before_the_change(
    moved_a_week_ago: datetime, needing: Experiment, shop: Shop
) -> None:
    page = Screen(shop.client("ana").get(f"{EXPERIMENTS}{needing.pk}/change/"))
    assert "no test is made of them" in page.section("Metrics before the change").text
    assert ", without a test: control " in run(f"experiment report {KEY}").out


def test_page_without_a_change_has_no_such_part(needing: Experiment, shop: Shop) -> None:
    assert experiments.report(KEY)["metrics"][0]["before"] is None
    page = Screen(shop.client("ana").get(f"{EXPERIMENTS}{needing.pk}/change/"))
    assert "Metrics before the change" not in page.text


def test_change_before_a_restart_does_not_count(needing: Experiment) -> None:
    began = needing.started_at
    assert began is not None
    ExperimentEvent.objects.create(
        experiment=needing, kind="moved", at=began - DAY, message="changed"
    )
    metric = experiments.report(KEY)["metrics"][0]
    assert (metric["units"], metric["warning"]) == (4000, None)
