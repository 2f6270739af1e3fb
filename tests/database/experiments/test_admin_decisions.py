"""The buttons of an experiment that stop, ship another variant, and undo."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from flagstaff import experiments
from flagstaff.experiments.models import Experiment, State
from tests.support.action_pages import button_names
from tests.support.admin_pages import messages_of, page, staff
from tests.support.experiment_pages import (
    confirm_page,
    experiment_url,
    expose_both,
    press,
)
from tests.support.plan_pages import table

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("metrics")]

KEY = "checkout_button"
UNDO = {"_button": "undo"}


@pytest.fixture
def running() -> Experiment:
    experiments.create(KEY)
    experiments.set_metrics(KEY, primary="orders")
    found = experiments.start(KEY)
    expose_both(found, (200, 20), (200, 30))
    return found


@pytest.fixture
def shipped(running: Experiment) -> Experiment:
    return experiments.ship(KEY, "treatment")


def experiment_of() -> Experiment:
    return Experiment.objects.get(key=KEY)


def preview(html: str) -> list[list[str]]:
    return table(html, "flagstaff-preview")


def test_shipped_experiment_is_stopped(operator: Client, shipped: Experiment) -> None:
    html = confirm_page(operator, shipped, "stop")
    assert "“Undo” ships it again." in html
    assert preview(html) == [
        ["state", "shipped", "stopped"],
        ["who gets what", "everyone gets “treatment”", "every call gets its default"],
    ]
    response = press(operator, shipped, "stop")
    assert "was stopped: every call gets its default" in messages_of(response)[0]
    assert (experiment_of().state, experiment_of().winner) == (State.STOPPED, "")


def test_shipped_experiment_offers_to_ship_the_other_variants(
    operator: Client, shipped: Experiment
) -> None:
    stored = experiment_of().frozen_report
    html = confirm_page(operator, shipped, "ship")
    assert "The stored report stays as it is." in html
    assert 'value="control"' in html
    assert 'value="treatment"' not in html
    press(operator, shipped, "ship", winner="control")
    found = experiment_of()
    assert (found.state, found.winner, found.frozen_report) == (State.SHIPPED, "control", stored)


def test_ship_of_a_stored_report_asks_for_no_choice_about_a_failing_metric(
    operator: Client, shipped: Experiment
) -> None:
    report = experiment_of().frozen_report
    report["metrics"][0] |= {"error": "broken"}
    Experiment.objects.update(frozen_report=report)
    assert "without_report" not in confirm_page(operator, shipped, "ship")


def test_undo_of_a_ship_shows_and_restores_the_running_experiment(
    operator: Client, shipped: Experiment
) -> None:
    html = confirm_page(operator, shipped, "undo")
    shares = "control 50.0 %, treatment 50.0 %"
    assert preview(html) == [
        ["event", "shipped: all units get treatment", "undone"],
        ["state", "shipped", "running"],
        ["who gets what", "everyone gets “treatment”", shares],
        ["report", "stored", "computed from all exposures"],
    ]
    assert "Units that met the shipped variant meanwhile stay in the report." in html
    response = press(operator, shipped, "undo")
    [message] = messages_of(response)
    assert message.replace("\xa0", " ") == f"“{KEY}” is as it was before: {shares}."
    found = experiment_of()
    assert (found.state, found.phase, found.frozen_report) == (State.RUNNING, 2, None)


def test_message_of_a_stop_has_a_link_that_undoes_it(operator: Client, running: Experiment) -> None:
    html = press(operator, running, "stop").content.decode()
    assert "every call gets its default. <a " in html
    assert 'href="?_button=undo">Undo</a>' in html


def test_link_of_the_message_opens_the_question_and_changes_nothing(
    operator: Client, shipped: Experiment
) -> None:
    html = page(operator, f"{experiment_url(shipped)}?_button=undo")
    assert "Undo the last stop or ship" in html
    assert f'href="{experiment_url(shipped)}"' in html
    assert experiment_of().state == State.SHIPPED
    url = f"{experiment_url(shipped)}?_button=undo"
    [version] = re.findall(r'name="expect_version" value="(\d+)"', html)
    data = {**UNDO, "_confirmed": "1", "expect_version": version}
    response = operator.post(url, data, follow=True)
    assert experiment_of().state == State.RUNNING
    assert response.redirect_chain[-1][0] == experiment_url(shipped)


def test_link_needs_the_permission_to_change(shipped: Experiment) -> None:
    viewer = staff("view_experiment")
    assert viewer.get(f"{experiment_url(shipped)}?_button=undo").status_code == 403


def test_link_to_a_button_that_is_not_there_says_so(operator: Client, running: Experiment) -> None:
    response = operator.get(f"{experiment_url(running)}?_button=undo", follow=True)
    assert "Not saved: the experiment has changed" in messages_of(response)[0]


def test_required_reason_is_asked_for_all_but_a_stop(
    operator: Client, shipped: Experiment, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "REQUIRE_REASON": True}
    for name in ("ship", "undo"):
        html = press(operator, shipped, name, winner="control").content.decode()
        assert "A reason is required." in html
        assert experiment_of().winner == "treatment"
    press(operator, shipped, "stop")
    assert experiment_of().state == State.STOPPED


def test_undo_is_hidden_if_there_is_nothing_to_undo(operator: Client, running: Experiment) -> None:
    experiments.stop(KEY)
    experiments.shuffle(KEY)
    assert "undo" not in button_names(page(operator, experiment_url(running)))


def test_undo_is_hidden_without_the_exposures_that_it_needs(
    operator: Client, shipped: Experiment
) -> None:
    Experiment.objects.update(exposures_deleted_at=timezone.now())
    assert button_names(page(operator, experiment_url(shipped))) == ["ship", "stop"]


def test_start_without_a_primary_metric_says_only_what_cannot_change(operator: Client) -> None:
    found = experiments.create("other")
    html = confirm_page(operator, found, "start")
    assert "It can be added later." in html
    assert "primary metric, the planned units" not in html
    experiments.set_metrics("other", primary="orders")
    html = confirm_page(operator, found, "start")
    assert "It can be added later." not in html
    assert "primary metric, the planned units" in html
