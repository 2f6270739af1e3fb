"""Experiments in the admin: the list, the report with its buttons, and the form of a new one."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from django.utils.translation import override

from flagstaff import acting_as, experiments
from flagstaff._engine import forced_off
from flagstaff.admin.action_page import ActionPageAdmin
from flagstaff.experiments.models import (
    Experiment,
    ExperimentEvent,
    LostExposures,
    State,
    StoredVerdict,
)
from flagstaff.experiments.statistics import Statement
from flagstaff.experiments.words import STATEMENTS
from flagstaff.models import FeatureFlag
from tests.support.action_pages import button_names
from tests.support.admin_pages import column, count_queries, messages_of, page, permit, staff
from tests.support.experiment_pages import (
    EXPERIMENTS,
    METRICS,
    confirm_page,
    experiment_url,
    expose,
    expose_both,
    press,
)
from tests.support.plan_pages import INLINE, table, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("metrics")]

KEY = "checkout_button"
RULES = (
    '[{"conditions": [{"attribute": "plan", "operator": "in", "values": ["pro"]}], '
    '"rollout_percent": 100}]'
)
NEW = {
    "key": KEY,
    "variants": "control\ntreatment:3",
    "traffic_percent": "40",
    "bucket_by": "user",
    "rules": "",
    "primary_metric": "orders",
    "other_metrics": ["revenue"],
    "guardrails-0-metric": "complaints",
    "guardrails-0-harm": "1",
    "method": "sequential",
    "planned_units": "4000",
    "min_days": "14",
    "min_units": "50",
    "smallest_effect": "",
    "_reason": "plan of the quarter",
}


@pytest.fixture
def draft() -> Experiment:
    experiments.create(KEY, description="Is a green button better?", owner="shop")
    return experiments.set_metrics(KEY, primary="orders", planned_units=4000)


@pytest.fixture
def running(draft: Experiment) -> Experiment:
    return experiments.start(KEY)


@pytest.fixture
def better(running: Experiment) -> Experiment:
    expose_both(running, (2000, 200), (2000, 320))
    return running


@pytest.fixture
def failing(running: Experiment, settings: Any) -> Experiment:
    """An experiment whose primary metric fails."""
    expose_both(running, (200, 20), (200, 30), days=1)
    experiments.set_metrics(KEY, others=["revenue"])
    settings.FLAGSTAFF["METRICS"] = {**METRICS, "orders": METRICS["leaking"]}
    return running


def experiment_of(key: str = KEY) -> Experiment:
    return Experiment.objects.get(key=key)


def shown(client: Client, experiment: Experiment) -> str:
    return page(client, experiment_url(experiment))


# The list.


def test_list_shows_filters_and_searches_experiments(operator: Client) -> None:
    def columns(query: str = "") -> list[str]:
        html = page(operator, EXPERIMENTS + query)
        names = ("experiment", "shown_state", "started", "shown_owner")
        return [cell for name in names for cell in column(html, name)]

    experiments.create(KEY, ["control", "treatment:3"], traffic_percent=40, owner="shop")
    Experiment.objects.update(description="Is a green button better?")
    shown_key = f"{KEY} control 10.0 %, treatment 30.0 %"
    assert columns() == [shown_key, "draft", "-", "shop"]
    assert 'title="Is a green button better?"' in page(operator, EXPERIMENTS)
    experiments.start(KEY)
    experiments.ship(KEY, "treatment")
    shipped = [shown_key, "shipped everyone gets “treatment”", "just now", "shop"]
    assert columns() == shipped
    experiments.create("other")
    for query in ("?state__exact=shipped", "?q=green", "?q=shop", "?q=checkout"):
        assert columns(query) == shipped, query


def test_list_and_page_say_that_an_experiment_is_forced_off(
    operator: Client, draft: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "forced off" not in page(operator, EXPERIMENTS)
    monkeypatch.setattr(forced_off, "keys", frozenset({KEY}))
    assert column(page(operator, EXPERIMENTS), "shown_state") == ["draft forced off"]
    html = shown(operator, draft)
    assert "draft forced off Not started" in text_of(html)
    assert "Forced off in this process by FLAGSTAFF_FORCE_OFF" in html


def test_list_needs_as_many_queries_for_many_experiments(operator: Client) -> None:
    experiments.create(KEY)
    before = count_queries(operator, EXPERIMENTS)
    for number in range(5):
        experiments.create(f"e{number}")
    assert count_queries(operator, EXPERIMENTS) == before <= 12


# The form of a new experiment.


def test_form_is_prefilled(operator: Client) -> None:
    html = page(operator, f"{EXPERIMENTS}add/")
    assert re.search(r'<textarea name="variants"[^>]*>\s*control\ntreatment</textarea>', html)
    select = html.partition("id_primary_metric")[2].partition("</select>")[0]
    assert re.findall(r'<option value="(\w*)"', select) == ["", *METRICS]


def test_form_creates_an_experiment_with_its_metrics(operator: Client, admin_user: User) -> None:
    response = operator.post(f"{EXPERIMENTS}add/", {**NEW, "rules": RULES}, follow=True)
    created, unknown = messages_of(response)
    assert created == f"The experiment “{KEY}” was created. It has not started."
    assert unknown.startswith("rule 1: “plan” is not known here.")
    found = experiment_of()
    assert response.redirect_chain[-1][0] == experiment_url(found)
    assert {one["key"]: one["weight"] for one in found.variants} == {"control": 1, "treatment": 3}
    assert (found.rules, found.traffic_percent) == (json.loads(RULES), 40)
    assert (found.primary_metric, found.other_metrics) == ("orders", ["revenue"])
    assert found.guardrails == {"complaints": 0.01}
    assert (found.planned_units, found.min_days, found.min_units) == (4000, 14, 50)
    events = ExperimentEvent.objects.values_list("actor", "reason")
    assert {*events} == {(str(admin_user.pk), "plan of the quarter")}


@pytest.mark.parametrize(
    ("change", "field", "error"),
    [
        ({"variants": "control\nb:x"}, "variants", "is no variant"),
        ({"key": "a b"}, "key", "white space"),
        ({"key": "a_flag"}, "__all__", "is the key of a flag"),
        ({"traffic_percent": "101"}, "traffic_percent", "100"),
        ({"bucket_by": " "}, "bucket_by", "required"),
        ({"rules": "[{"}, "rules", "not valid JSON"),
        ({"rules": RULES.replace("100", "5")}, "rules", "rule 1 has a rollout of 5 %"),
        ({"guardrails-0-harm": "much"}, "guardrails", "how much harm of complaints is tolerated"),
        ({"guardrails-0-harm": "-1"}, "guardrails", "how much harm of complaints is tolerated"),
        ({"guardrails-0-metric": ""}, "guardrails", "Choose the metric of 1."),
        ({"smallest_effect": "0"}, "smallest_effect", "above 0"),
        ({"guardrails-0-metric": "orders"}, "__all__", "the metric orders has two roles"),
    ],
)
def test_form_shows_errors_and_keeps_what_was_typed(
    change: dict[str, str], field: str, error: str, operator: Client
) -> None:
    FeatureFlag.objects.create(key="a_flag")
    response = operator.post(f"{EXPERIMENTS}add/", {**NEW, **change, "owner": "typed owner"})
    assert response.status_code == 200
    assert error in str(response.context["form"].errors[field])
    html = response.content.decode()
    assert "typed owner" in html
    assert next(iter(change.values())) in unescape(html)
    assert not Experiment.objects.exists()


# The report.


def test_page_of_a_draft_shows_what_it_can_detect(operator: Client, draft: Experiment) -> None:
    html = shown(operator, draft)
    assert "Not started: every call gets its default" in html
    settings = dict(table(html, "flagstaff-settings"))
    assert settings["Variants"] == "control 50.0 %, treatment 50.0 %"
    assert settings["Primary metric"] == "orders"
    assert settings["Planned units"] == "4,000"
    sizes = table(html, "What the planned units can detect")
    assert sizes[2] == ["10.0 %", "12.8 %", "+28.2 %"]
    assert "too early" not in html


def test_page_shows_verdict_figures_and_chart(operator: Client, better: Experiment) -> None:
    html = shown(operator, better)
    assert count_queries(operator, experiment_url(better)) <= 20
    text, found = text_of(html), experiments.report(KEY)
    assert operator.get(f"{experiment_url(better)}?format=json").json() == found
    assert "treatment the treatment is better" in text
    assert str(STATEMENTS[Statement.TREATMENT_IS_BETTER]) in text
    assert str(STATEMENTS[Statement.OTHER_METRICS_ARE_NOT_DECIDED]) in text
    [orders] = table(html, ">Metrics<")
    look = found["metrics"][0]["treatments"][0]["newest"]
    name, control, value, change, p_value, result = orders
    assert name == "orders primary metric a customer has paid"
    assert (control, value) == ("10.0 %", "16.0 %")
    assert (p_value, result) == ("< 0.0001", "better, significant")
    low, high = (f"+{100 * look['relative_difference'][side]:.1f} %" for side in ("low", "high"))
    assert change == f"+60.0 % · 95 % interval: {low} to {high}"
    assert "orders: 10.0 % → 16.0 %, lift +60.0 %, 95 % interval: +" in text
    points = [f"+{100 * look['difference'][side]:.2f}" for side in ("low", "high")]
    assert f"+6.00 · 95 % interval: {points[0]} to {points[1]}" in text
    [drawn] = re.findall(r'<svg[^>]*aria-label="[+]60.*?</svg>', html, re.DOTALL)
    assert 'class="flagstaff-range flagstaff-fine"' in drawn
    assert 'class="flagstaff-zero"' in drawn
    looks = table(html, "Looks at orders of treatment")
    columns = found["metrics"][0]["treatments"][0]["looks"]
    assert (len(looks), looks[0][1], looks[0][4]) == (len(columns["units"]), "4,000", "+60.0 %")
    assert len(looks) < columns["count"]
    assert "Not all looks: of each period the last one" in html


def test_metrics_have_a_corrected_level_and_a_bound(operator: Client, better: Experiment) -> None:
    experiments.set_metrics(KEY, others=["revenue"], guardrails={"complaints": 0.01})
    html = shown(operator, better)
    assert "97.5 % interval" in text_of(html)
    assert "revenue other metric" in text_of(html)
    assert "stop: a guardrail got worse" in html
    complaints = table(html, ">Metrics<")[2]
    bound = experiments.report(KEY)["metrics"][2]["treatments"][0]["harm_bound"]
    assert f"Worse by at least: {100 * bound:.2f}" in text_of(html)
    assert complaints[3].endswith("; tolerated: 1.00")
    assert complaints[5] == "worse by more than is tolerated"


def test_result_of_an_earlier_look_names_it(operator: Client, running: Experiment) -> None:
    expose(running, "control", 500, 20, name="c", days=5)
    expose(running, "treatment", 500, 90, name="t", days=5)
    expose(running, "control", 500, 200, name="later-c", days=0)
    expose(running, "treatment", 500, 130, name="later-t", days=0)
    [orders] = table(shown(operator, running), ">Metrics<")
    assert orders[3].startswith("0 % · 95 % interval: \N{MINUS SIGN}")
    assert orders[5].startswith("better, significant at the look of ")


def test_guardrail_within_what_is_tolerated_says_so(operator: Client, running: Experiment) -> None:
    expose_both(running, (1000, 200), (1000, 100))
    experiments.set_metrics(KEY, guardrails={"complaints": 0.05})
    html = shown(operator, running)
    complaints = table(html, ">Metrics<")[1]
    assert complaints[3].endswith("; tolerated: 5.00")
    assert complaints[5] == "within what is tolerated"
    assert 'class="flagstaff-limit"' in html
    assert "Worse by at least: no harm is certain" in text_of(html)


def test_possible_harm_to_a_guardrail_is_named_and_warns_of_a_ship(
    operator: Client, running: Experiment
) -> None:
    experiments.set_metrics(KEY, guardrails={"complaints": 0.05})
    expose_both(running, (300, 30), (300, 34))
    html = shown(operator, running)
    guardrail = table(html, ">Metrics<")[1]
    interval = guardrail[3].split(" · ")[1].removesuffix("; tolerated: 5.00")
    assert guardrail[5] == f"harm up to {interval.split(' to ')[1]} is possible"
    looks = table(html, "Looks at complaints of treatment")
    assert looks[0][5] == interval
    warning = "Guardrail complaints: harm beyond what is tolerated is not excluded."
    assert warning in confirm_page(operator, running, "ship")


def test_wrong_shares_show_a_diagnosis_and_no_figure(operator: Client, running: Experiment) -> None:
    expose_both(running, (2000, 200), (1500, 500))
    html = shown(operator, running)
    text = text_of(html)
    assert "no verdict: the shares are wrong" in text
    assert "control: 2,000 units, 1,750 expected" in text
    assert str(STATEMENTS[Statement.SHARES_ARE_WRONG]) in text
    assert "Repair the cause, then press “Shuffle…”: the units so far stay wrong." in text
    assert "Until then, “Stop…” returns the default to all." in text
    assert ">Metrics<" not in html
    assert [row[:5] for row in table(html, "flagstaff-units")] == [
        ["control", "50.0 %", "57.1 %", "2,000", "1,750"],
        ["treatment", "50.0 %", "42.9 %", "1,500", "1,750"],
    ]


def test_page_warns_of_lost_and_double_exposures(operator: Client, better: Experiment) -> None:
    LostExposures.objects.create(experiment=better, count=1234)
    expose(better, "control", 3, 0, name="treatment999")
    expose(better, "treatment", 3, 0, name="treatment999")
    text = text_of(shown(operator, better))
    assert "1,234 exposures were lost" in text
    assert "3 units met two variants. They are left out of all figures." in text


def test_failing_or_missing_metric_leaves_the_page_usable(
    operator: Client, failing: Experiment, settings: Any
) -> None:
    html = shown(operator, failing)
    [error] = re.findall(r'role="alert">(.*?)</p>', html, re.DOTALL)
    assert "There is no verdict: the metric orders fails: data exception" in text_of(error)
    assert "stop" in button_names(html)
    assert table(html, "flagstaff-units")[0][3] == "200"
    assert "revenue" in html
    assert "too early" not in html
    assert "private" not in html
    response = operator.get(f"{experiment_url(failing)}?format=json")
    assert response.json()["metrics"][0]["error"].endswith("(SQLSTATE 22P02)")
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": {}}
    html = shown(operator, failing)
    assert "has no metric" in html
    assert "stop" in button_names(html)
    with override("de"):
        assert "hat keine Metrik 'orders'; vorhanden: keine" in unescape(shown(operator, failing))
    assert experiments.report(KEY)["metrics"][0]["error"] == (
        "FLAGSTAFF[\"METRICS\"] has no metric 'orders'; it has none"
    )


def test_failed_guardrail_is_no_verdict_beside_the_figures(
    operator: Client, better: Experiment
) -> None:
    experiments.set_metrics(KEY, guardrails={"leaking": 0.1})
    html = shown(operator, better)
    assert "treatment no verdict: a guardrail fails" in text_of(html)
    assert "A verdict needs the guardrail leaking, which cannot be computed." in text_of(html)
    assert table(html, ">Metrics<")[0][-1] == "better, significant"
    assert 'role="alert"' not in html


def test_page_has_phases_and_events(
    operator: Client, running: Experiment, admin_user: User
) -> None:
    with acting_as(admin_user, reason="more traffic"):
        experiments.set_weights(KEY, {"treatment": 3})
    html = shown(operator, running)
    assert [row[:2] for row in table(html, ">Phases<")] == [
        ["1", "control 50.0 %, treatment 50.0 %"],
        ["2", "control 25.0 %, treatment 75.0 %"],
    ]
    [_at, *newest] = table(html, ">Events<")[0]
    text = "weights: control 1, treatment 3; 100 % of all units take part"
    assert newest == ["weights", f"{text} more traffic", "admin"]


def test_page_of_missing_experiment_redirects_with_a_message(operator: Client) -> None:
    response = operator.get(f"{EXPERIMENTS}77/change/", follow=True)
    assert "exist" in messages_of(response)[0]


def test_pages_have_no_inline_style_or_script(operator: Client, better: Experiment) -> None:
    pages = {
        path: page(operator, EXPERIMENTS + path) for path in ("", "add/", f"{better.pk}/change/")
    }
    for name in button_names(pages[f"{better.pk}/change/"]):
        pages[name] = confirm_page(operator, better, name)
    experiments.stop(KEY)
    pages["delete"] = page(operator, f"{EXPERIMENTS}{better.pk}/delete/")
    for name, html in pages.items():
        [content] = re.findall(r'<div id="content".*', html, re.DOTALL)
        assert INLINE.findall(content) == [], name


# The buttons.


def test_buttons_depend_on_the_state(operator: Client, draft: Experiment) -> None:
    def names() -> list[str]:
        return button_names(shown(operator, draft))

    assert names() == ["start", "weights", "metrics", "force"]
    experiments.start(KEY)
    assert names() == ["ship", "stop", "weights", "metrics", "force", "shuffle"]
    experiments.stop(KEY)
    assert names() == ["start", "ship", "undo", "weights", "metrics", "shuffle"]
    experiments.ship(KEY, "treatment")
    assert names() == ["ship", "stop", "undo"]
    experiments.stop(KEY)
    assert names() == ["ship", "undo", "weights", "metrics", "shuffle"]


def test_ship_is_the_main_button_only_if_a_verdict_says_better(
    operator: Client, running: Experiment
) -> None:
    def main() -> list[str]:
        html = shown(operator, running)
        return re.findall(r'class="button default [^>]*value="(\w+)"', html)

    assert main() == []
    expose_both(running, (2000, 200), (2000, 320))
    assert main() == ["ship"]
    experiments.stop(KEY)
    assert main() == ["start"]


def test_last_click_of_a_confirmation_asks_no_more(operator: Client, running: Experiment) -> None:
    html = confirm_page(operator, running, "ship")
    [label] = re.findall(r'flagstaff-confirm"[^>]*>(.*?)</button>', html)
    assert label == "Ship a variant"


def test_start_asks_for_a_reason(operator: Client, draft: Experiment, admin_user: User) -> None:
    html = confirm_page(operator, draft, "start")
    assert "each unit that meets it gets a variant and is recorded" in html
    assert experiment_of().state == State.DRAFT
    response = press(operator, draft, "start", _reason="launch")
    assert messages_of(response) == [f"The experiment “{KEY}” has started."]
    assert experiment_of().state == State.RUNNING
    event = ExperimentEvent.objects.latest("id")
    assert (event.kind, event.reason, event.actor) == ("started", "launch", str(admin_user.pk))


def test_rules_stand_in_the_question_of_a_start_and_beside_the_estimate(operator: Client) -> None:
    sentence = "The rules admit only some of them, so it takes longer."
    assert sentence not in text_of(shown(operator, experiments.create("all")))
    found = experiments.create(KEY, rules=json.loads(RULES))
    assert sentence in text_of(shown(operator, found))
    [*_others, row] = table(confirm_page(operator, found, "start"), "flagstaff-preview")
    assert row[:2] == ["who takes part", "nobody"]
    assert "plan" in row[2]
    assert "pro" in row[2]


def test_pages_say_what_is_missing_for_a_verdict(operator: Client) -> None:
    found = experiments.create(KEY)
    html = confirm_page(operator, found, "start")
    assert "There is no primary metric, so there will be no verdict." in html
    experiments.start(KEY)
    html = shown(operator, found)
    assert "There is no metric. The button “Change metrics” sets one." in html
    experiments.set_metrics(KEY, primary="orders")
    text = text_of(shown(operator, found))
    assert "too early for a verdict" in text
    assert "A verdict needs 7 more days and 100 more units in the smaller variant." in text
    assert "No treatment has been shown to be better" in confirm_page(operator, found, "ship")


def test_stop_works_on_a_page_that_is_old_and_never_insists_on_a_reason(
    operator: Client, running: Experiment, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "REQUIRE_REASON": True}
    html = confirm_page(operator, running, "stop")
    assert not re.search(r'<input [^>]*name="_reason"[^>]* required', html)
    experiments.set_weights(KEY, {"treatment": 2})
    data = {"_button": "stop", "_confirmed": "1", "expect_version": "1"}
    operator.post(experiment_url(running), data)
    assert experiment_of().state == State.STOPPED


def test_stop_after_another_stop_changes_nothing(
    operator: Client, running: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_first(*arguments: Any) -> list[str] | None:
        experiments.stop(KEY)
        return problems(*arguments)

    problems = ActionPageAdmin._problems
    monkeypatch.setattr(ActionPageAdmin, "_problems", stop_first)
    response = press(operator, running, "stop")
    assert "was stopped: every call gets its default" in messages_of(response)[0]
    assert ExperimentEvent.objects.filter(kind="stopped").count() == 1


def test_shuffle_of_an_old_page_is_asked_again(operator: Client, running: Experiment) -> None:
    data = {"_button": "shuffle", "_confirmed": "1", "expect_version": "1"}
    response = operator.post(experiment_url(running), data)
    assert "Not saved: the experiment has changed since" in response.content.decode()
    assert experiment_of().shuffle == 0
    press(operator, running, "shuffle")
    assert experiment_of().shuffle == 1


def test_ship_needs_a_variant_and_shows_what_follows(operator: Client, better: Experiment) -> None:
    html = confirm_page(operator, better, "ship")
    assert "“Undo” takes it back, with all exposures." in html
    assert "treatment \N{EN DASH} the treatment is better" in text_of(html)
    assert "control \N{EN DASH} the report says that another variant is better" in text_of(html)
    assert 'role="alert"' not in html
    response = press(operator, better, "ship")
    html = response.content.decode()
    [row] = re.findall(r'field-winner errors".*?<legend', html, re.DOTALL)
    assert "This field is required." in row
    assert not re.search(r'<input [^>]*name="winner"[^>]* required', html)
    assert experiment_of().state == State.RUNNING
    response = press(operator, better, "ship", winner="treatment")
    done, then = messages_of(response)
    assert done == f"The experiment “{KEY}” was shipped: everyone gets “treatment”."
    assert then.endswith(f"manage.py flags references {KEY}")
    assert 'href="?_button=undo">Undo</a>' in response.content.decode()
    assert (experiment_of().state, experiment_of().winner) == (State.SHIPPED, "treatment")
    assert "This report was kept as it was on" in response.content.decode()


@pytest.mark.parametrize("metric", ["orders", "leaking"])
def test_ship_with_a_failing_metric_needs_a_choice(
    metric: str, operator: Client, request: pytest.FixtureRequest
) -> None:
    experiment = request.getfixturevalue("failing" if metric == "orders" else "better")
    experiments.set_metrics(KEY, guardrails={"leaking": 0.1})
    response = press(operator, experiment, "ship", winner="control")
    assert f"A metric cannot be read: the metric {metric} fails" in text_of(
        response.content.decode()
    )
    assert "No treatment has been shown to be better" in response.content.decode()
    assert "cannot be kept" in response.content.decode()
    assert experiment_of().state == State.RUNNING
    press(operator, experiment, "ship", winner="control", without_report="on")
    assert experiment_of().winner == "control"


def test_weights_begin_a_phase_unless_all_are_zero(operator: Client, running: Experiment) -> None:
    assert "this begins a phase" in confirm_page(operator, running, "weights")
    values = {"weight_0": "0", "weight_1": "0", "traffic_percent": "77"}
    html = press(operator, running, "weights", **values).content.decode()
    assert "all weights are 0" in html
    assert 'value="77"' in html
    assert experiment_of().phase == 1
    values = {"weight_0": "1", "weight_1": "4", "traffic_percent": "50"}
    response = press(operator, running, "weights", **values)
    assert messages_of(response) == [f"The weights of “{KEY}” were saved."]
    found = experiment_of()
    assert (found.phase, found.traffic_percent, found.variants[1]["weight"]) == (2, 50, 4)


def test_force_gives_and_takes_back_a_variant(operator: Client, running: Experiment) -> None:
    response = press(operator, running, "force", unit="42", variant="treatment")
    assert table(response.content.decode(), "Forced units") == [["42", "treatment"]]
    press(operator, running, "force", unit="42", variant="")
    assert experiment_of().overrides == {}


def test_metrics_are_changed_before_the_start_and_guardrails_after(
    operator: Client, draft: Experiment
) -> None:
    html = confirm_page(operator, draft, "metrics")
    assert '<option value="orders" selected>' in html
    values = {**NEW, "primary_metric": "revenue", "other_metrics": [], "planned_units": "9"}
    press(operator, draft, "metrics", **{**values, "guardrails-0-harm": "1.23456789"})
    found = experiment_of()
    assert (found.primary_metric, found.other_metrics) == ("revenue", [])
    assert (found.planned_units, found.guardrails) == (9, {"complaints": 0.0123456789})
    experiments.start(KEY)
    html = press(operator, draft, "metrics", **{**values, "planned_units": "77"}).content.decode()
    assert "has started, so its planned units cannot change" in html
    assert 'value="77"' in html
    assert experiment_of().planned_units == 9
    html = confirm_page(operator, draft, "metrics")
    [shown] = re.findall(r'name="guardrails-0-harm"[^>]*value="(.*?)"', html)
    assert shown == "1.23456789"
    more = {"guardrails-0-harm": shown, "guardrails-1-metric": "orders", "guardrails-1-harm": "2"}
    press(operator, draft, "metrics", **{**values, **more})
    assert experiment_of().guardrails == {"complaints": 0.0123456789, "orders": 0.02}


def test_experiment_is_deleted_unless_it_runs(operator: Client, running: Experiment) -> None:
    url = f"{EXPERIMENTS}{running.pk}/delete/"
    assert "deletelink" not in shown(operator, running)
    response = operator.post(url, {"_confirmed": "1"}, follow=True)
    assert "is running. Stop it before you delete it." in messages_of(response)[0]
    assert Experiment.objects.exists()
    experiments.stop(KEY)
    assert "Delete the experiment" in page(operator, url)
    response = operator.post(url, {"_confirmed": "1"}, follow=True)
    assert messages_of(response) == [f"The experiment “{KEY}” was deleted."]
    assert not Experiment.objects.exists()


# Languages.


def test_stored_events_are_shown_in_english_beside_the_german_kind(
    operator: Client, draft: Experiment
) -> None:
    with override("de"):
        experiments.set_metrics(KEY, guardrails={"complaints": 0.5})
        html = shown(operator, draft)
        recent = text_of(page(operator, "/admin/flagstaff/featureflag/changes/?kind=experiment"))
    text = "analysis: guardrails complaints (0.5)"
    assert ["bearbeitet", text] in [row[1:3] for row in table(html, ">Ereignisse")]
    assert f"bearbeitet: {text}" in recent


def test_refused_changes_are_shown_in_german(operator: Client, running: Experiment) -> None:
    values = {**NEW, "other_metrics": [], "planned_units": "77"}
    with override("de"):
        html = press(operator, running, "metrics", **values).content.decode()
        added = operator.post(f"{EXPERIMENTS}add/", {**NEW, "variants": "a:10001\nb"})
    assert f"{KEY} ist gestartet, daher" in html
    [error] = added.context["form"].errors.as_data()["variants"]
    assert "10.000" in error.message


# Permissions.


def test_permission_to_change_shows_the_buttons(draft: Experiment) -> None:
    viewer = staff("view_experiment")
    html = shown(viewer, draft)
    assert "Primary metric" in html
    assert (button_names(html), "deletelink" in html) == ([], False)
    assert viewer.get(f"{experiment_url(draft)}?format=json").status_code == 200
    assert viewer.post(experiment_url(draft), {"_button": "start"}).status_code == 403
    assert experiment_of().state == State.DRAFT
    permit(User.objects.get(username="staff"), "change_experiment")
    html = shown(viewer, draft)
    assert button_names(html) == ["start", "weights", "metrics", "force"]
    assert "deletelink" not in html
    for path in ("add/", f"{draft.pk}/delete/"):
        assert viewer.get(EXPERIMENTS + path).status_code == 403
    adder = staff("add_experiment", name="adder")
    assert adder.post(f"{EXPERIMENTS}add/", {**NEW, "key": "other"}).status_code == 302
    assert adder.get(experiment_url(draft)).status_code == 403


def test_user_without_permission_sees_no_page(operator: Client, draft: Experiment) -> None:
    other = staff("view_featureflag")
    for path in ("", "add/", f"{draft.pk}/change/", f"{draft.pk}/delete/"):
        assert other.get(EXPERIMENTS + path).status_code == 403
    assert "flagstaff_experiments" not in page(other, "/admin/")
    assert f'href="{EXPERIMENTS}"' in page(operator, "/admin/")


def test_list_shows_the_verdict_and_what_is_wrong_first(
    operator: Client, running: Experiment
) -> None:
    other = experiments.create("aaa_newer", ["control", "treatment"])
    experiments.start(other.key)
    assert column(page(operator, EXPERIMENTS), "experiment")[0].startswith("aaa_newer")
    verdict = {"phase": 1, "outcomes": {"treatment": "mismatch"}, "at": timezone.now()}
    StoredVerdict.objects.create(experiment=running, **verdict)
    html = page(operator, EXPERIMENTS)
    assert column(html, "experiment")[1].startswith("aaa_newer")
    broken, waiting = column(html, "verdict")
    assert broken.startswith("no verdict: the shares are wrong Day 1")
    assert waiting.startswith("Day 1. No verdict yet")
    assert html.count("flagstaff-tripped") == 1
    experiments.stop(KEY)
    assert column(page(operator, EXPERIMENTS), "verdict")[1] == "-"
