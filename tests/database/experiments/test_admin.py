"""Experiments in the admin: the list, the report with its buttons, and the form of a new one."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flagstaff import acting_as, experiments
from flagstaff.experiments.admin.pressing import PressingMixin
from flagstaff.experiments.models import Experiment, ExperimentEvent, LostExposures, State
from flagstaff.experiments.statistics import Statement
from flagstaff.experiments.words import STATEMENTS
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import column, messages_of, page, staff
from tests.support.experiment_pages import (
    EXPERIMENTS,
    METRICS,
    button_names,
    confirm_page,
    experiment_url,
    expose,
    press,
)
from tests.support.plan_pages import INLINE, table, text_of

pytestmark = pytest.mark.django_db

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
    "guardrails": "complaints=0.01",
    "method": "sequential",
    "planned_users": "4000",
    "min_days": "14",
    "min_users": "50",
    "smallest_effect": "",
    "_reason": "plan of the quarter",
}


@pytest.fixture(autouse=True)
def metrics(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": METRICS}


@pytest.fixture
def draft() -> Experiment:
    experiments.create(KEY, description="Is a green button better?", owner="shop")
    return experiments.set_metrics(KEY, primary="orders", planned_users=4000)


@pytest.fixture
def running(draft: Experiment) -> Experiment:
    return experiments.start(KEY)


@pytest.fixture
def better(running: Experiment) -> Experiment:
    expose(running, "control", 2000, 200)
    expose(running, "treatment", 2000, 320)
    return running


@pytest.fixture
def failing(running: Experiment) -> Experiment:
    expose(running, "control", 200, 20, days=1)
    expose(running, "treatment", 200, 30, days=1)
    return experiments.set_metrics(KEY, others=["broken"])


def experiment_of(key: str = KEY) -> Experiment:
    return Experiment.objects.get(key=key)


def shown(client: Client, experiment: Experiment) -> str:
    return page(client, experiment_url(experiment))


# The list.


def test_list_shows_state_variants_and_owner(operator: Client) -> None:
    experiments.create(KEY, ["control", "treatment:3"], traffic_percent=40, owner="shop")
    html = page(operator, EXPERIMENTS)
    assert column(html, "experiment") == [KEY]
    assert column(html, "shown_state") == ["draft"]
    assert column(html, "shown_variants") == ["control 10.0 %, treatment 30.0 %"]
    assert column(html, "started") == ["-"]
    assert column(html, "shown_owner") == ["shop"]


def test_list_shows_what_was_shipped(operator: Client, running: Experiment) -> None:
    assert column(page(operator, EXPERIMENTS), "started") == ["just now"]
    experiments.ship(KEY, "treatment")
    assert column(page(operator, EXPERIMENTS), "shown_state") == ["shipped everyone gets treatment"]


def test_list_filters_by_state_and_searches(operator: Client, running: Experiment) -> None:
    experiments.create("other")
    for query in ("state__exact=running", "q=green", "q=shop", "q=checkout"):
        assert column(page(operator, f"{EXPERIMENTS}?{query}"), "experiment") == [
            f"{KEY}Is a green button better?"
        ], query


def test_list_needs_as_many_queries_for_many_experiments(operator: Client) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            page(operator, EXPERIMENTS)
        return len(queries)

    experiments.create(KEY)
    page(operator, EXPERIMENTS)  # Fills Django's caches.
    before = count()
    for number in range(5):
        experiments.create(f"e{number}")
    assert count() == before <= 12


# The form of a new experiment.


def test_form_is_prefilled(operator: Client) -> None:
    html = page(operator, f"{EXPERIMENTS}add/")
    assert re.search(r'<textarea name="variants"[^>]*>\s*control\ntreatment</textarea>', html)
    assert re.findall(
        r'<option value="(\w*)"', html.partition("id_primary_metric")[2].partition("</select>")[0]
    ) == [
        "",
        "orders",
        "revenue",
        "complaints",
        "broken",
    ]


def test_form_creates_an_experiment_with_its_metrics(operator: Client, admin_user: User) -> None:
    response = operator.post(f"{EXPERIMENTS}add/", {**NEW, "rules": RULES}, follow=True)
    assert messages_of(response) == [f"The experiment “{KEY}” was created. It has not started."]
    found = experiment_of()
    assert response.redirect_chain[-1][0] == experiment_url(found)
    assert [(one["key"], one["weight"]) for one in found.variants] == [
        ("control", 1),
        ("treatment", 3),
    ]
    assert found.rules == json.loads(RULES)
    assert (found.traffic_percent, found.primary_metric, found.other_metrics) == (
        40,
        "orders",
        ["revenue"],
    )
    assert (found.guardrails, found.planned_users, found.min_days, found.min_users) == (
        {"complaints": 0.01},
        4000,
        14,
        50,
    )
    events = ExperimentEvent.objects.filter(experiment=found)
    assert {(one.actor, one.reason) for one in events} == {
        (str(admin_user.pk), "plan of the quarter")
    }


@pytest.mark.parametrize(
    ("change", "field", "error"),
    [
        ({"variants": "control"}, "variants", "the experiment has 1 variants"),
        ({"variants": "control\nb:x"}, "variants", "is no variant"),
        ({"key": "a b"}, "key", "white space"),
        ({"traffic_percent": "101"}, "traffic_percent", "100"),
        ({"bucket_by": " "}, "bucket_by", "required"),
        ({"rules": "[{"}, "rules", "not valid JSON"),
        (
            {"rules": RULES.replace("100", "5")},
            "rules",
            "rule 1 has a rollout of 5 %",
        ),
        ({"guardrails": "complaints=much"}, "guardrails", "is no guardrail"),
        ({"guardrails": "complaints=nan"}, "guardrails", "is no guardrail"),
        ({"smallest_effect": "0"}, "smallest_effect", "above 0"),
        ({"guardrails": "orders=0.1"}, "__all__", "the metric orders has two roles"),
        ({"guardrails": "nothing=0.1"}, "__all__", "has no metric"),
    ],
)
def test_form_shows_errors_and_keeps_what_was_typed(
    change: dict[str, str], field: str, error: str, operator: Client
) -> None:
    response = operator.post(f"{EXPERIMENTS}add/", {**NEW, **change, "owner": "typed owner"})
    assert response.status_code == 200
    assert error in str(response.context["form"].errors[field])
    html = response.content.decode()
    assert "typed owner" in html
    assert next(iter(change.values())) in unescape(html)
    assert not Experiment.objects.exists()


def test_form_refuses_the_key_of_a_flag(operator: Client) -> None:
    FeatureFlag.objects.create(key=KEY)
    response = operator.post(f"{EXPERIMENTS}add/", NEW)
    assert "is the key of a flag" in response.content.decode()


# The report.


def test_page_of_a_draft_shows_its_settings_and_what_it_can_detect(
    operator: Client, draft: Experiment
) -> None:
    html = shown(operator, draft)
    assert "Not started: every call gets its default" in html
    settings = dict(table(html, "flagstaff-settings"))
    assert settings["Variants"] == "control 50.0 %, treatment 50.0 %"
    assert settings["Primary metric"] == "orders"
    assert settings["Planned units"] == "4,000"
    sizes = table(html, "What the planned units can detect")
    assert sizes[2] == ["10.0 %", "12.8 %", "+28.2 %"]
    assert "too early" not in html


def test_page_shows_the_verdict_and_the_figures_of_the_report(
    operator: Client, better: Experiment
) -> None:
    html = shown(operator, better)
    text = text_of(html)
    assert "treatment the treatment is better" in text
    assert str(STATEMENTS[Statement.TREATMENT_IS_BETTER]) in text
    assert str(STATEMENTS[Statement.OTHER_METRICS_ARE_NOT_DECIDED]) in text
    [treatment] = table(html, "<h3>orders")
    look = experiments.report(KEY)["metrics"][0]["treatments"][0]["newest"]
    low, high = (f"+{100 * look['difference'][bound]:.2f}" for bound in ("low", "high"))
    assert treatment[:4] == [
        "treatment",
        "10.0 %",
        "16.0 %",
        f"+6.00 95 % interval: {low} to {high}",
    ]
    assert treatment[4].startswith("+60.0 % 95 % interval: +")
    assert treatment[5:] == ["< 0.0001", "better, significant"]
    assert "orders: 10.0 % → 16.0 %, lift +60.0 %, 95 % interval: +" in text


def test_chart_has_the_numbers_of_its_table(operator: Client, better: Experiment) -> None:
    html = shown(operator, better)
    [drawn] = re.findall(r'<svg[^>]*aria-labelledby="flagstaff-metric-0.*?</svg>', html, re.DOTALL)
    [treatment] = table(html, "<h3>orders")
    interval = treatment[4].removeprefix("+60.0 % ")
    assert "treatment: +60.0 %" in text_of(drawn)
    assert interval in text_of(drawn)
    assert 'class="flagstaff-range flagstaff-fine"' in drawn
    assert 'class="flagstaff-zero"' in drawn


def test_looks_are_thinned_to_a_hundred(operator: Client, better: Experiment) -> None:
    looks = experiments.report(KEY)["metrics"][0]["treatments"][0]["looks"]
    assert len(looks) > 100
    html = shown(operator, better)
    rows = table(html, "Looks at orders of treatment")
    assert len(rows) == 100
    assert rows[0][1] == "4,000"
    assert rows[0][4] == "+60.0 %"
    assert "100 of all looks, evenly spread." in html


def test_several_metrics_have_a_corrected_level(operator: Client, better: Experiment) -> None:
    experiments.set_metrics(KEY, others=["revenue"])
    text = text_of(shown(operator, better))
    assert "97.5 % interval" in text
    assert "revenue other metric" in text


def test_result_of_an_earlier_look_names_it(operator: Client, running: Experiment) -> None:
    expose(running, "control", 500, 20, name="c", days=5)
    expose(running, "treatment", 500, 90, name="t", days=5)
    expose(running, "control", 500, 200, name="later-c", days=0)
    expose(running, "treatment", 500, 130, name="later-t", days=0)
    [treatment] = table(shown(operator, running), "<h3>orders")
    assert treatment[3].startswith("0 95 % interval: \N{MINUS SIGN}")
    assert treatment[6].startswith("better, significant at the look of ")


def test_guardrail_within_what_is_tolerated_says_so(operator: Client, running: Experiment) -> None:
    expose(running, "control", 1000, 200)
    expose(running, "treatment", 1000, 100)
    experiments.set_metrics(KEY, guardrails={"complaints": 0.05})
    [treatment] = table(shown(operator, running), "<h3>complaints")
    assert treatment[5:] == ["no harm is certain", "5.00", "within what is tolerated"]


def test_guardrail_shows_its_bound_and_what_is_tolerated(
    operator: Client, better: Experiment
) -> None:
    experiments.set_metrics(KEY, guardrails={"complaints": 0.01})
    html = shown(operator, better)
    assert "stop: a guardrail got worse" in html
    [treatment] = table(html, "<h3>complaints")
    bound = experiments.report(KEY)["metrics"][1]["treatments"][0]["harm_bound"]
    assert treatment[5:] == [
        f"{100 * bound:.2f}",
        "1.00",
        "worse by more than is tolerated",
    ]


def test_wrong_shares_show_a_diagnosis_and_no_figure(operator: Client, running: Experiment) -> None:
    expose(running, "control", 2000, 200)
    expose(running, "treatment", 1500, 500)
    html = shown(operator, running)
    text = text_of(html)
    assert "no verdict: the shares are wrong" in text
    assert "control: 2,000 units, 1,750 expected" in text
    assert str(STATEMENTS[Statement.SHARES_ARE_WRONG]) in text
    assert "flagstaff-metric-" not in html
    assert "<h3>orders" not in html
    assert [row[:4] for row in table(html, "flagstaff-units")] == [
        ["control", "50.0 %", "2,000", "1,750"],
        ["treatment", "50.0 %", "1,500", "1,750"],
    ]


def test_page_says_what_is_missing_for_a_verdict(operator: Client, running: Experiment) -> None:
    text = text_of(shown(operator, running))
    assert "too early for a verdict" in text
    assert "A verdict needs 7 more days and 100 more units in the smaller variant." in text


def test_page_without_a_metric_says_how_to_set_one(operator: Client) -> None:
    experiments.create(KEY)
    started = experiments.start(KEY)
    assert "There is no metric. The button “Change metrics” sets one." in shown(operator, started)


def test_page_warns_of_lost_exposures_and_of_units_with_two_variants(
    operator: Client, better: Experiment
) -> None:
    LostExposures.objects.create(experiment=better, count=1234)
    expose(better, "control", 3, 0, name="treatment999")
    expose(better, "treatment", 3, 0, name="treatment999")
    text = text_of(shown(operator, better))
    assert "1,234 exposures were lost" in text
    assert "3 units met two variants. They are left out of all figures." in text


def test_failing_metric_leaves_the_page_usable(operator: Client, failing: Experiment) -> None:
    html = shown(operator, failing)
    [error] = re.findall(r'role="alert">(.*?)</p>', html, re.DOTALL)
    assert "broken: column" in text_of(error)
    assert "stop" in button_names(html)
    assert table(html, "flagstaff-units")[0][2] == "200"
    assert "too early" not in html


def test_missing_metric_leaves_the_page_usable(
    operator: Client, better: Experiment, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": {}}
    html = shown(operator, better)
    assert "has no metric" in html
    assert "stop" in button_names(html)


def test_json_of_the_page_is_the_report(operator: Client, better: Experiment) -> None:
    response = operator.get(f"{experiment_url(better)}?format=json")
    assert response.json() == experiments.report(KEY)


def test_json_of_a_failing_metric_is_an_error(operator: Client, failing: Experiment) -> None:
    response = operator.get(f"{experiment_url(failing)}?format=json")
    assert response.status_code == 500
    assert "broken: column" in response.json()["error"]


def test_page_lists_phases_and_events(
    operator: Client, running: Experiment, admin_user: User
) -> None:
    with acting_as(admin_user, reason="more traffic"):
        experiments.set_weights(KEY, {"treatment": 3})
    html = shown(operator, running)
    assert [row[:2] for row in table(html, ">Phases<")] == [
        ["1", "control 50.0 %, treatment 50.0 %"],
        ["2", "control 25.0 %, treatment 75.0 %"],
    ]
    newest = table(html, ">Events<")[0]
    assert newest[1:] == [
        "weights",
        "weights: control 1, treatment 3; 100 % of all units take part",
        "more traffic",
        "admin",
    ]


def test_page_of_missing_experiment_redirects_with_a_message(operator: Client) -> None:
    response = operator.get(f"{EXPERIMENTS}77/change/", follow=True)
    assert "exist" in messages_of(response)[0]


def test_page_makes_few_queries(operator: Client, better: Experiment) -> None:
    with CaptureQueriesContext(connection) as queries:
        shown(operator, better)
    assert len(queries) <= 20


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
    assert names() == ["stop", "ship", "weights", "shuffle", "metrics", "force"]
    experiments.stop(KEY)
    assert names() == ["start", "ship", "weights", "shuffle", "metrics"]
    experiments.ship(KEY, "treatment")
    assert names() == []


def test_start_asks_first_and_keeps_the_reason(
    operator: Client, draft: Experiment, admin_user: User
) -> None:
    html = confirm_page(operator, draft, "start")
    assert "each unit that meets it gets a variant and is recorded" in html
    assert experiment_of().state == State.DRAFT
    response = press(operator, draft, "start", _reason="launch")
    assert messages_of(response) == [f"The experiment “{KEY}” has started."]
    assert experiment_of().state == State.RUNNING
    event = ExperimentEvent.objects.latest("id")
    assert (event.kind, event.reason, event.actor) == ("started", "launch", str(admin_user.pk))


def test_start_without_a_metric_warns(operator: Client) -> None:
    html = confirm_page(operator, experiments.create(KEY), "start")
    assert "There is no primary metric, so there will be no verdict." in html


def test_stop_works_on_a_page_that_is_old(operator: Client, running: Experiment) -> None:
    experiments.set_weights(KEY, {"treatment": 2})
    data = {"_experiment": "stop", "_confirmed": "1", "expect_version": "1"}
    operator.post(experiment_url(running), data)
    assert experiment_of().state == State.STOPPED


def test_stop_of_an_experiment_that_was_stopped_meanwhile_says_so(
    operator: Client, running: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_first(*_arguments: object) -> bool:
        experiments.stop(KEY)
        return False

    monkeypatch.setattr(PressingMixin, "_is_old", stop_first)
    response = press(operator, running, "stop")
    assert "cannot be stopped, because it is stopped" in messages_of(response)[0]


def test_confirmation_of_an_old_page_is_asked_again(operator: Client, running: Experiment) -> None:
    data = {"_experiment": "shuffle", "_confirmed": "1", "expect_version": "1"}
    response = operator.post(experiment_url(running), data)
    assert "Not saved: the experiment has changed." in response.content.decode()
    assert experiment_of().shuffle == 0


def test_ship_names_the_verdicts_and_how_to_remove_the_key(
    operator: Client, better: Experiment
) -> None:
    html = confirm_page(operator, better, "ship")
    text = text_of(html)
    assert "This cannot be undone." in text
    assert "treatment \N{EN DASH} the treatment is better" in text
    assert 'role="alert"' not in html
    response = press(operator, better, "ship", winner="treatment")
    done, then = messages_of(response)
    assert "was shipped" in done
    assert then.endswith(f"manage.py flags references {KEY}")
    assert (experiment_of().state, experiment_of().winner) == (State.SHIPPED, "treatment")
    assert "This report was kept as it was on" in response.content.decode()


def test_ship_without_a_positive_verdict_warns(operator: Client, running: Experiment) -> None:
    assert "No treatment has been shown to be better" in confirm_page(operator, running, "ship")


def test_ship_needs_a_variant(operator: Client, better: Experiment) -> None:
    response = press(operator, better, "ship")
    assert "This field is required." in response.content.decode()
    assert experiment_of().state == State.RUNNING


def test_ship_with_a_failing_metric_needs_a_choice(operator: Client, failing: Experiment) -> None:
    response = press(operator, failing, "ship", winner="control")
    assert "cannot be kept" in response.content.decode()
    assert experiment_of().state == State.RUNNING
    press(operator, failing, "ship", winner="control", without_report="on")
    assert experiment_of().winner == "control"


def test_weights_begin_a_phase(operator: Client, running: Experiment) -> None:
    html = confirm_page(operator, running, "weights")
    assert "this begins a phase" in html
    values = {"weight_0": "1", "weight_1": "4", "traffic_percent": "50"}
    response = press(operator, running, "weights", **values)
    assert messages_of(response) == [f"The weights of “{KEY}” were saved."]
    found = experiment_of()
    assert (found.phase, found.traffic_percent, found.variants[1]["weight"]) == (2, 50, 4)


def test_weights_that_are_all_zero_are_an_error_of_the_form(
    operator: Client, running: Experiment
) -> None:
    values = {"weight_0": "0", "weight_1": "0", "traffic_percent": "77"}
    html = press(operator, running, "weights", **values).content.decode()
    assert "all weights are 0" in html
    assert 'value="77"' in html
    assert experiment_of().phase == 1


def test_shuffle_gives_new_buckets(operator: Client, running: Experiment) -> None:
    press(operator, running, "shuffle")
    assert experiment_of().shuffle == 1


def test_force_gives_a_unit_a_variant_and_takes_it_back(
    operator: Client, running: Experiment
) -> None:
    response = press(operator, running, "force", unit="42", variant="treatment")
    assert table(response.content.decode(), "Forced units") == [["42", "treatment"]]
    press(operator, running, "force", unit="42", variant="")
    assert experiment_of().overrides == {}


def test_metrics_of_a_draft_are_changed(operator: Client, draft: Experiment) -> None:
    html = confirm_page(operator, draft, "metrics")
    assert '<option value="orders" selected>' in html
    values = {**NEW, "primary_metric": "revenue", "other_metrics": ["orders"], "planned_users": "9"}
    press(operator, draft, "metrics", **values)
    found = experiment_of()
    assert (found.primary_metric, found.other_metrics, found.planned_users) == (
        "revenue",
        ["orders"],
        9,
    )


def test_metrics_that_cannot_change_after_the_start_show_why(
    operator: Client, running: Experiment
) -> None:
    html = press(operator, running, "metrics", **{**NEW, "planned_users": "77"}).content.decode()
    assert "has started, so its planned users cannot change" in html
    assert 'value="77"' in html
    assert experiment_of().planned_users == 4000


def test_form_keeps_the_guardrails_of_a_started_experiment(
    operator: Client, draft: Experiment
) -> None:
    experiments.set_metrics(KEY, guardrails={"complaints": 0.0123456789})
    experiments.start(KEY)
    html = confirm_page(operator, draft, "metrics")
    [shown_text] = re.findall(r'<textarea name="guardrails"[^>]*>\s*(.*?)</textarea>', html)
    values = {**NEW, "guardrails": f"{shown_text}\nrevenue=1", "other_metrics": []}
    press(operator, draft, "metrics", **values)
    assert experiment_of().guardrails == {"complaints": 0.0123456789, "revenue": 1.0}


def test_stop_never_insists_on_a_reason(
    operator: Client, running: Experiment, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "REQUIRE_REASON": True}
    html = confirm_page(operator, running, "stop")
    assert not re.search(r'<input [^>]*name="_reason"[^>]* required', html)


def test_delete_removes_the_experiment(operator: Client, draft: Experiment) -> None:
    url = f"{EXPERIMENTS}{draft.pk}/delete/"
    assert "Delete the experiment" in page(operator, url)
    response = operator.post(url, {"_confirmed": "1"}, follow=True)
    assert messages_of(response) == [f"The experiment “{KEY}” was deleted."]
    assert not Experiment.objects.exists()


def test_delete_of_a_running_experiment_is_refused(operator: Client, running: Experiment) -> None:
    assert "deletelink" not in shown(operator, running)
    response = operator.post(f"{EXPERIMENTS}{running.pk}/delete/", {"_confirmed": "1"}, follow=True)
    assert "is running. Stop it before you delete it." in messages_of(response)[0]
    assert Experiment.objects.exists()


# Permissions.


def test_viewer_sees_the_report_without_buttons(better: Experiment) -> None:
    viewer = staff("view_experiment")
    html = shown(viewer, better)
    assert "the treatment is better" in html
    assert (button_names(html), "deletelink" in html) == ([], False)
    assert viewer.get(f"{experiment_url(better)}?format=json").status_code == 200
    for path in ("add/", f"{better.pk}/delete/"):
        assert viewer.get(EXPERIMENTS + path).status_code == 403
    assert viewer.post(experiment_url(better), {"_experiment": "stop"}).status_code == 403
    assert experiment_of().state == State.RUNNING


def test_editor_has_the_buttons_and_may_not_delete(draft: Experiment) -> None:
    editor = staff("change_experiment")
    html = shown(editor, draft)
    assert button_names(html) == ["start", "weights", "metrics", "force"]
    assert "deletelink" not in html
    assert editor.get(f"{EXPERIMENTS}{draft.pk}/delete/").status_code == 403
    assert editor.get(f"{EXPERIMENTS}add/").status_code == 403


def test_user_who_may_only_add_creates_experiments() -> None:
    adder = staff("add_experiment")
    assert adder.post(f"{EXPERIMENTS}add/", NEW).status_code == 302
    assert adder.get(experiment_url(experiment_of())).status_code == 403


def test_user_without_permission_sees_no_page(draft: Experiment) -> None:
    other = staff("view_featureflag")
    for path in ("", "add/", f"{draft.pk}/change/", f"{draft.pk}/delete/"):
        assert other.get(EXPERIMENTS + path).status_code == 403
    assert "flagstaff_experiments" not in page(other, "/admin/")


def test_index_has_a_section_of_experiments(operator: Client) -> None:
    assert f'href="{EXPERIMENTS}"' in page(operator, "/admin/")
