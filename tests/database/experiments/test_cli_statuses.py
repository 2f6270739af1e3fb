"""`manage.py flags experiment` and `experiments`: exit statuses, and what a terminal shows."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from flagstaff import experiments
from flagstaff._engine import lifecycle
from flagstaff.exceptions import UnknownExperimentError
from flagstaff.experiments import get_variant
from flagstaff.experiments.models import Experiment, State
from flagstaff.models import FeatureFlag
from tests.support.terminals import document, rows, run

pytestmark = pytest.mark.django_db

KEY = "checkout_button"


def test_unknown_experiment_has_the_exit_status_of_unknown_keys() -> None:
    ran = run(f"experiment {KEY} start")
    assert ran.status == 5
    assert f"there is no experiment {KEY}; create it" in ran.err


def test_key_of_a_flag_is_refused() -> None:
    FeatureFlag.objects.create(key=KEY)
    ran = run(f"experiment {KEY} create")
    assert ran.status == 4
    assert f"refused: {KEY} is the key of a flag" in ran.err


def test_change_that_the_state_does_not_allow_is_refused() -> None:
    experiments.create(KEY)
    ran = run(f"experiment {KEY} stop")
    assert ran.status == 4
    assert f"refused: {KEY} cannot be stopped, because it is draft" in ran.err


def test_ship_without_a_terminal_needs_yes() -> None:
    experiments.create(KEY)
    experiments.start(KEY)
    assert run(f"experiment {KEY} ship treatment").status == 2
    assert run(f"experiment {KEY} ship treatment --yes").status == 0
    assert Experiment.objects.get().state == State.SHIPPED


def test_weights_that_move_units_of_a_started_experiment_say_so() -> None:
    experiments.create(KEY, traffic_percent=10)
    assert "get another variant" not in run(f"experiment {KEY} weights --variant treatment:2").err
    experiments.start(KEY)
    assert "get another variant" not in run(f"experiment {KEY} weights --traffic 50").err
    ran = run(f"experiment {KEY} weights --variant treatment:1")
    assert "8.33 % of all units get another variant; those of them that met one" in ran.err


def test_list_has_a_row_per_experiment_and_names_the_newest_first() -> None:
    for key in (KEY, "search_order"):
        experiments.create(key)
    assert [row[:2] for row in rows("experiments")] == [["search_order", "draft"], [KEY, "draft"]]
    assert [one["key"] for one in document("experiments")] == ["search_order", KEY]


def test_unknown_key_raises_the_error_of_experiments_if_the_settings_say_so(
    settings: Settings,
) -> None:
    settings.FLAGSTAFF = {"UNKNOWN_KEY": "raise"}
    # A process reads its settings at the first evaluation.
    lifecycle.close()
    with pytest.raises(UnknownExperimentError, match="there is no experiment 'chekout_button'"):
        get_variant("chekout_button", 1)
