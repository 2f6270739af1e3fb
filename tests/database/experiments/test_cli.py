"""`manage.py flags experiment` and `experiments`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flagstaff import experiments
from flagstaff.experiments.models import Experiment, ExperimentEvent
from tests.support.terminals import document, flags, rows

pytestmark = pytest.mark.django_db

KEY = "checkout_button"


def change(*arguments: str) -> dict[str, Any]:
    ran = flags("experiment", KEY, *arguments, "--json")
    assert ran.status == 0, ran.err
    return dict(json.loads(ran.out))


def refusal(*arguments: str) -> str:
    ran = flags("experiment", KEY, *arguments)
    assert ran.status != 0
    return ran.err.strip()


def stored() -> Experiment:
    return Experiment.objects.get(key=KEY)


def test_create_makes_a_draft_with_the_variants_that_are_named() -> None:
    made = change("create", "--variant", "control", "--variant", "green:3", "--traffic", "20")
    assert [(one["key"], one["share"]) for one in made["variants"]] == [
        ("control", 5.0),
        ("green", 15.0),
    ]
    assert stored().state == "draft"


def test_create_without_variants_has_control_and_treatment() -> None:
    change("create", "--description", "Green?", "--owner", "web")
    assert [one["key"] for one in stored().variants] == ["control", "treatment"]
    assert (stored().description, stored().owner) == ("Green?", "web")


def test_create_reads_rules_from_a_file(tmp_path: Path) -> None:
    rule = {"conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}]}
    file = tmp_path / "rules.json"
    file.write_text(json.dumps([rule]))
    change("create", "--rules", str(file))
    assert stored().rules == [rule]


def test_start_weights_shuffle_and_stop_change_the_state() -> None:
    change("create")
    assert change("start")["state"] == "running"
    assert change("weights", "--variant", "treatment:3")["phase"] == 2
    assert change("shuffle")["shuffle"] == 1
    assert change("stop")["state"] == "stopped"


def test_change_says_what_it_did_and_who() -> None:
    experiments.create(KEY)
    ran = flags("experiment", KEY, "start", "--as-name", "ana", "--reason", "launch")
    assert f"{KEY}: started in phase 1" in ran.err
    event = ExperimentEvent.objects.get(kind="started")
    assert (event.actor, event.reason) == ("ana", "launch")


def test_metrics_sets_the_analysis() -> None:
    change("create")
    change("metrics", "--planned-users", "20000", "--min-days", "14", "--method", "fixed")
    change("metrics", "--smallest-effect", "0.01")
    found = stored()
    assert (found.planned_users, found.min_days, found.method) == (20_000, 14, "fixed")
    assert found.smallest_effect == 0.01


def test_unknown_metric_is_refused_with_those_that_exist() -> None:
    change("create")
    assert "has no metric 'orders'; it has none" in refusal("metrics", "--primary", "orders")


def test_force_gives_a_unit_its_variant_and_takes_it_back() -> None:
    change("create")
    change("force", "42", "treatment")
    assert stored().overrides == {"42": "treatment"}
    change("force", "42")
    assert stored().overrides == {}


def test_ship_needs_a_confirmation_and_names_the_next_step() -> None:
    experiments.create(KEY)
    experiments.start(KEY)
    assert "--yes" in refusal("ship", "treatment")
    ran = flags("experiment", KEY, "ship", "treatment", "--yes")
    assert f"remove {KEY} from the code: manage.py flags references {KEY}" in ran.err
    assert (stored().state, stored().winner) == ("shipped", "treatment")


def test_delete_removes_the_experiment_unless_it_runs() -> None:
    experiments.create(KEY)
    experiments.start(KEY)
    assert "cannot be deleted, because it is running" in refusal("delete", "--yes")
    experiments.stop(KEY)
    assert change("delete", "--yes") == {"key": KEY, "deleted": True}
    assert not Experiment.objects.exists()


@pytest.mark.parametrize("action", [(), ("start",), ("report",), ("ship", "a", "--yes")])
def test_unknown_experiment_is_refused_with_the_command_that_creates_it(
    action: tuple[str, ...],
) -> None:
    expected = f'there is no experiment {KEY}; create it: manage.py flags experiment "{KEY}" create'
    assert expected in refusal(*action)


def test_wrong_variant_is_refused_with_an_example() -> None:
    assert 'write a key and a weight, such as "treatment:3"' in refusal(
        "create", "--variant", "a:b", "--variant", "c"
    )


def test_experiment_without_an_action_shows_it_with_its_events() -> None:
    experiments.create(KEY)
    ran = flags("experiment", KEY)
    assert "created with control 1, treatment 1" in ran.out
    shown = document("experiment", KEY)
    assert (shown["key"], shown["state"], shown["events"][0]["kind"]) == (KEY, "draft", "created")


def test_experiments_lists_all_with_the_newest_first() -> None:
    experiments.create("first")
    experiments.create("second")
    assert [row[0] for row in rows("experiments")] == ["second", "first"]


def test_experiments_says_that_there_is_none() -> None:
    assert flags("experiments").err == "there is no experiment\n"
