"""`manage.py flags experiment`, `experiments` and `sample-size`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flagstaff import experiments
from flagstaff.experiments.models import Experiment, ExperimentEvent
from flagstaff.experiments.statistics import Design, sample_size_of_means
from tests.support.forced_off import forced_off
from tests.support.terminals import asked, document, flags, rows, run, typed

pytestmark = pytest.mark.django_db

KEY = "checkout_button"


def change(*arguments: str) -> dict[str, Any]:
    ran = flags("experiment", KEY, *arguments, "--json")
    assert ran.status == 0, ran.err
    return dict(json.loads(ran.out))


def refusal(*arguments: str, status: int = 2) -> str:
    ran = flags("experiment", KEY, *arguments)
    assert ran.status == status
    return ran.err.strip()


def stored() -> Experiment:
    return Experiment.objects.get(key=KEY)


def test_create_without_variants_has_two_and_the_rules_of_a_file(tmp_path: Path) -> None:
    rule = {"conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}]}
    file = tmp_path / "rules.json"
    file.write_text(json.dumps([rule]))
    change("create", "--description", "Green?", "--owner", "web", "--rules", str(file))
    assert [one["key"] for one in stored().variants] == ["control", "treatment"]
    assert (stored().description, stored().owner, stored().rules) == ("Green?", "web", [rule])


def test_create_start_weights_shuffle_and_stop_change_the_state() -> None:
    made = change("create", "--variant", "control", "--variant", "green:3", "--traffic", "20")
    assert {one["key"]: one["share"] for one in made["variants"]} == {"control": 5, "green": 15}
    assert stored().state == "draft"
    assert change("start")["state"] == "running"
    assert change("weights", "--variant", "green:4")["phase"] == 2
    assert change("shuffle", "--yes")["shuffle"] == 1
    assert change("stop")["state"] == "stopped"


def test_edit_changes_a_draft_and_says_what_to_do_instead_after_the_start(tmp_path: Path) -> None:
    change("create", "--description", "Green?")
    change("edit", "--variant", "control", "--variant", "green:3", "--owner", "web")
    assert [one["key"] for one in stored().variants] == ["control", "green"]
    assert (stored().description, stored().owner) == ("Green?", "web")
    assert "nothing had to be changed" in flags("experiment", KEY, "edit", "--owner", "web").err
    experiments.start(KEY)
    problem = refusal("edit", "--owner", "shop", status=4)
    assert "cannot be edited, because it is running. Its weights and traffic can" in problem


def test_stop_of_a_stopped_experiment_says_that_nothing_had_to_be_changed() -> None:
    change("create")
    ran = flags("experiment", KEY, "stop")
    assert (ran.status, ran.err) == (0, f"{KEY}: nothing had to be changed\n")


def test_undo_asks_and_takes_back_a_stop_and_another_winner() -> None:
    change("create")
    change("start")
    change("ship", "treatment", "--yes")
    ran = asked(f"experiment {KEY} ship control", "y")
    assert "Ship control to all units instead of treatment? The stored report stays." in ran.err
    ran = asked(f"experiment {KEY} undo", "n")
    assert f"stored report stays” of {KEY}? It is shipped again. [y/N]" in ran.err
    assert stored().winner == "control"
    assert "; all units get treatment" in flags("experiment", KEY, "undo", "--yes").err
    change("stop")
    change("undo", "--yes")
    assert stored().winner == "treatment"
    change("undo", "--yes")
    assert "the last change is “started in phase 1”" in refusal("undo", "--yes", status=4)


def test_required_reason_holds_for_all_changes_but_a_stop(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "REQUIRE_REASON": True}
    reason = ("--reason", "launch")
    actions = [
        ("create",),
        ("edit", "--owner", "web"),
        ("metrics", "--min-days", "3"),
        ("force", "42", "control"),
        ("weights", "--traffic", "50"),
        ("start",),
        ("shuffle", "--yes"),
        ("ship", "control", "--yes"),
        ("undo", "--yes"),
    ]
    for action in actions:
        assert "a reason is required by the setting REQUIRE_REASON" in refusal(*action)
        change(*action, *reason)
    assert change("stop")["state"] == "stopped"
    assert "a reason is required" in refusal("delete", "--yes")


def test_forced_off_experiment_is_named_in_list_details_and_report() -> None:
    experiments.create(KEY)
    experiments.start(KEY)
    notice = "forced off in this process by FLAGSTAFF_FORCE_OFF"
    with forced_off([KEY]):
        assert flags("experiments").err == f"{notice}: {KEY}\n"
        for line in ("flags experiments", f"flags experiment {KEY}"):
            assert "running (forced off)" in typed(line)
        report = flags("experiment", KEY, "report").out
        assert report.startswith(f"{KEY} is {notice}: every call returns its default.")
        assert document("experiment", KEY, "report")["forced_off"] is True
        assert notice in flags("experiment", KEY, "stop").err
    assert document("experiment", KEY)["forced_off"] is False


def test_shuffle_needs_a_confirmation() -> None:
    change("create")
    assert "--yes" in refusal("shuffle", status=2)
    ran = asked(f"experiment {KEY} shuffle", "n")
    question, last = ran.err.splitlines()
    assert "The exposures so far are no longer reported. [y/N]" in question
    assert (ran.status, last) == (2, "cancelled; nothing was changed")
    assert stored().shuffle == 0


def test_change_says_what_it_did_and_who() -> None:
    experiments.create(KEY)
    ran = flags("experiment", KEY, "start", "--as-name", "ana", "--reason", "launch")
    assert f"{KEY}: started in phase 1" in ran.err
    event = ExperimentEvent.objects.get(kind="started")
    assert (event.actor, event.reason) == ("ana", "launch")


def test_metrics_sets_the_analysis() -> None:
    change("create")
    problem = refusal("metrics", "--primary", "orders", status=4)
    assert "has no metric 'orders'; it has none" in problem
    change("metrics", "--planned-units", "20000", "--min-days", "14", "--method", "fixed")
    change("metrics", "--smallest-effect", "0.01")
    found = stored()
    assert (found.planned_units, found.min_days, found.method) == (20_000, 14, "fixed")
    assert found.smallest_effect == 0.01


def test_force_gives_a_unit_its_variant_and_takes_it_back() -> None:
    change("create")
    change("force", "42", "treatment")
    assert stored().overrides == {"42": "treatment"}
    change("force", "42")
    assert stored().overrides == {}


def test_ship_needs_a_confirmation_and_names_the_next_step() -> None:
    experiments.create(KEY)
    experiments.start(KEY)
    assert "--yes" in refusal("ship", "treatment", status=2)
    ran = flags("experiment", KEY, "ship", "treatment", "--yes")
    assert ran.status == 0
    assert f"remove {KEY} from the code: python manage.py flags references {KEY}" in ran.err
    assert (stored().state, stored().winner) == ("shipped", "treatment")


def test_delete_removes_the_experiment_unless_it_runs() -> None:
    experiments.create(KEY)
    experiments.start(KEY)
    problem = f"refused: {KEY} cannot be deleted, because it is running"
    assert problem in refusal("delete", "--yes", status=4)
    experiments.stop(KEY)
    assert change("delete", "--yes") == {"key": KEY, "deleted": True}
    assert not Experiment.objects.exists()


@pytest.mark.parametrize("action", [(), ("start",), ("report",), ("ship", "a", "--yes")])
def test_unknown_experiment_is_refused_with_the_next_command(action: tuple[str, ...]) -> None:
    expected = f'there is no experiment {KEY}; create it: manage.py flags experiment "{KEY}" create'
    assert expected in refusal(*action, status=5)


def test_wrong_variant_is_refused_with_an_example() -> None:
    assert 'write a key and a weight, such as "treatment:3"' in refusal(
        "create", "--variant", "a:b", "--variant", "c", status=1
    )


def test_experiment_without_an_action_shows_it_with_its_events() -> None:
    experiments.create(KEY)
    ran = flags("experiment", KEY)
    assert "created with control 1, treatment 1" in ran.out
    shown = document("experiment", KEY)
    assert (shown["key"], shown["state"], shown["events"][0]["kind"]) == (KEY, "draft", "created")


def test_experiments_lists_all_with_the_newest_first() -> None:
    assert flags("experiments").err == "there is no experiment\n"
    experiments.create("first")
    experiments.create("second")
    assert [row[:2] for row in rows("experiments")] == [["second", "draft"], ["first", "draft"]]
    assert [one["key"] for one in document("experiments")] == ["second", "first"]
    assert flags("experiment", "list") == flags("experiments")
    experiments.create("list")
    assert document("experiment", "list")["key"] == "list"


def test_weights_that_move_units_of_a_started_experiment_say_so() -> None:
    experiments.create(KEY, traffic_percent=10)
    assert "get another variant" not in run(f"experiment {KEY} weights --variant treatment:2").err
    experiments.start(KEY)
    assert "get another variant" not in run(f"experiment {KEY} weights --traffic 50").err
    ran = run(f"experiment {KEY} weights --variant treatment:1")
    assert "8.33 % of all units get another variant; those of them that met one" in ran.err


# `flags sample-size`.


@pytest.mark.parametrize("shares", [("10%", "12%"), ("0.1", "0.12")])
def test_shares_give_the_units_of_each_variant(shares: tuple[str, str]) -> None:
    found = document("sample-size", "--from", shares[0], "--to", shares[1], "--per-day", "500")
    assert found == {"control": 3841, "treatment": 3841, "total": 7682, "days": 16}


def test_mean_takes_its_deviation_and_the_power() -> None:
    found = document("sample-size", "--deviation", "30", "--effect", "1.5", "--power", "0.9")
    assert found["total"] == sample_size_of_means(30, 1.5, Design(power=0.9)).total
    assert found["days"] is None


def test_size_is_enough_for_an_interval_of_rare_or_skewed_values() -> None:
    size = ("sample-size", "--deviation", "10", "--effect", "1")
    assert "pass --mean, too" in flags(*size).err
    assert document(*size, "--mean", "10")["control"] == 1570
    assert document(*size, "--mean", "0.5")["control"] == 20_050
    assert "an interval needs about 20,050" in flags(*size, "--mean", "0.5").err
    assert document("sample-size", "--from", "0.0001", "--to", "0.01")["control"] == 100_000


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "write --from and --to for a conversion, or --deviation and --effect for a mean"),
        (("--from", "10%"), "write --from and --to"),
        (("--from", "10%", "--to", "12%", "--deviation", "3"), "write --from and --to"),
        (("--from", "10%", "--to", "10%"), "treatment is equal to control"),
        (("--from", "110%", "--to", "10%"), "expected a share such as 0.1 or 10%, not '110%'"),
        (("--deviation", "-1", "--effect", "1"), "expected a number above 0"),
    ],
)
def test_unusable_arguments_of_sample_size_are_refused(
    arguments: tuple[str, ...], problem: str
) -> None:
    ran = flags("sample-size", *arguments)
    assert ran.status != 0
    assert problem in ran.err
