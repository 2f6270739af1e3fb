"""The list of experiments, and the page of each with its report. Others test the actions."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.translation import override

from flagstaff import experiments
from flagstaff._engine import forced_off
from flagstaff.experiments.models import Experiment, StoredVerdict
from flagstaff.experiments.verdict import SHARES_ARE_WRONG
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    column,
    count_queries,
    errors_of,
    flag_url,
    inline_of,
    messages_of,
    page,
    table,
    text_of,
)
from tests.support.experiments import (
    EXPERIMENTS,
    KEY,
    METRICS,
    experiment_url,
    expose,
    expose_both,
    stored,
)
from tests.support.screen import Screen
from tests.support.shop import Shop
from tests.support.terminals import ok, run, typed

METRICS_TABLE = 'aria-label="Metrics"'
UNITS_TABLE = 'aria-label="Units"'


def actions_of(html: str) -> set[str]:
    """Returns the actions that a page links to."""
    links = Screen(html).part("#content").links
    return {text.removesuffix("…") for text, _url in links if text.endswith("…")}


def test_list_shows_filters_and_searches_experiments(operator: Client) -> None:
    def columns(query: str = "") -> list[str]:
        html = page(operator, EXPERIMENTS + query)
        names = ("experiment", "shown_state", "started")
        return [cell for name in names for cell in column(html, name)]

    experiments.create(KEY, ["control", "treatment:3"], traffic_percent=40, description="Green?")
    shown_key = f"{KEY} control 10.0 %, treatment 30.0 %"
    assert columns() == [shown_key, "draft", "-"]
    assert 'title="Green?"' in page(operator, EXPERIMENTS)
    experiments.start(KEY)
    experiments.ship(KEY, "treatment")
    shipped = [shown_key, "shipped everyone gets “treatment”", "just now"]
    assert columns() == shipped
    experiments.create("other")
    for query in ("?state__exact=shipped", "?q=green", "?q=checkout"):
        assert columns(query) == shipped, query


def test_list_and_page_say_that_an_experiment_is_forced_off(
    operator: Client, running: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "forced off" not in page(operator, EXPERIMENTS)
    monkeypatch.setattr(forced_off, "keys", frozenset({KEY}))
    assert column(page(operator, EXPERIMENTS), "shown_state") == ["running forced off"]
    html = page(operator, experiment_url(running))
    assert "running, Day 1, forced off" in text_of(html)
    assert "Forced off in this process by FLAGSTAFF_FORCE_OFF" in html


def test_list_needs_as_many_queries_for_many_experiments(operator: Client) -> None:
    experiments.create(KEY)
    before = count_queries(operator, EXPERIMENTS)
    for number in range(5):
        experiments.create(f"e{number}")
    assert count_queries(operator, EXPERIMENTS) == before <= 12


def test_list_shows_the_verdict_and_what_is_wrong(
    shop: Shop, operator: Client, running: Experiment
) -> None:
    shop.experiment("newer")
    verdict = {"run": running.run, "outcomes": {"treatment": "mismatch"}, "at": timezone.now()}
    StoredVerdict.objects.create(experiment=running, **verdict)
    html = page(operator, EXPERIMENTS)
    waiting, broken = column(html, "verdict")
    assert broken.startswith("no verdict: the shares are wrong Day 1")
    assert waiting.startswith("Day 1. No verdict yet")
    assert html.count("flagstaff-tripped") == 1
    experiments.stop(KEY)
    assert column(page(operator, EXPERIMENTS), "verdict")[1] == "-"


def test_page_of_a_draft_shows_its_settings(operator: Client, draft: Experiment) -> None:
    experiments.force(KEY, "42", "treatment")
    html = page(operator, experiment_url(draft))
    text = text_of(html)
    assert "Green? · Not started: every call gets its default" in text
    settings_shown = dict(Screen(html).part("table", having="Variants").rows)
    assert settings_shown["Variants"] == "control 50.0 %, treatment 50.0 %"
    assert (settings_shown["Primary metric"], settings_shown["Planned units"]) == (
        "orders",
        "4,000",
    )
    assert settings_shown["Forced units"] == "42: treatment"
    assert "too early" not in html


def test_page_says_of_a_better_treatment_which_guardrail_it_may_harm(
    operator: Client, better: Experiment
) -> None:
    harm = "Guardrail complaints may have got worse by more than is tolerated."
    assert harm not in text_of(page(operator, experiment_url(better)))
    Experiment.objects.update(guardrails={"complaints": 0.05})
    shown = Screen(page(operator, experiment_url(better)))
    assert experiments.report(KEY)["verdicts"][0]["outcome"] == "better"
    # Below the headline, and among what to keep in mind.
    assert shown.part("#content").text.count(harm) == 2
    assert "the treatment is better, but may harm a guardrail" in shown.text
    assert harm in shown.section("What this means").text
    assert harm in run(f"experiment report {KEY}").out


def test_page_shows_verdict_figures_and_drawing(operator: Client, better: Experiment) -> None:
    html = page(operator, experiment_url(better))
    assert count_queries(operator, experiment_url(better)) <= 20
    text, report = text_of(html), experiments.report(KEY)
    assert "treatment the treatment is better orders: 10.0 % → 16.0 %, +60.0 % · 95 %" in text
    assert "The treatment is better than the control in this metric." in text
    assert "This says nothing about other metrics." in text
    [orders] = table(html, METRICS_TABLE)
    look = report["metrics"][0]["treatments"][0]["newest"]
    assert look is not None
    assert look["relative_difference"] is not None
    name, control, value, change, p_value, result = orders
    assert name == (
        "orders primary metric a customer has paid · 4,000 units observed for the full 1 d"
    )
    assert (control, value) == ("10.0 %", "16.0 %")
    assert (p_value, result) == ("< 0.0001", "better, significant")
    lift = look["relative_difference"]
    low, high = (f"+{100 * (bound or 0):.1f} %" for bound in (lift["low"], lift["high"]))
    assert change == f"+60.0 % · 95 % interval: {low} to {high}"
    drawn = Screen(html).part('svg[aria-label^="+60"]')
    assert drawn.all("path.flagstaff-on")


def test_metrics_have_a_corrected_level_and_a_bound(operator: Client, better: Experiment) -> None:
    Experiment.objects.update(other_metrics=["revenue"], guardrails={"complaints": 0.01})
    html = page(operator, experiment_url(better))
    assert "97.5 % interval" in text_of(html)
    assert "so the intervals are wider, and the p values are higher." in text_of(html).lower()
    assert "stop: a guardrail got worse" in html
    orders, revenue, complaints = table(html, METRICS_TABLE)
    assert revenue[0].startswith("revenue other metric")
    assert complaints[3].endswith("; tolerated: 1.00")
    assert complaints[5] == "worse by more than is tolerated"
    assert Screen(html).all("path[stroke-dasharray]")
    assert len({len(row) for row in (orders, revenue, complaints)}) == 1
    experiments.add_metric(KEY, "broken")
    assert "added on day 13" in table(page(operator, experiment_url(better)), METRICS_TABLE)[2][0]


def test_page_says_why_the_intervals_of_its_metrics_have_several_levels(
    operator: Client, better: Experiment
) -> None:
    Experiment.objects.update(other_metrics=["revenue"])
    text = text_of(page(operator, experiment_url(better)))
    assert "97.5 % interval" in text
    assert "95 % interval" in text.replace("97.5 % interval", "")
    assert "The smaller the p value, the higher the level of its interval." in text
    assert "Guardrails keep" not in text
    Experiment.objects.update(guardrails={"complaints": 0.01})
    text = text_of(page(operator, experiment_url(better)))
    assert "Guardrails keep 95 % intervals: none of them is a reason to ship." in text
    # Of one metric and its guardrails, all intervals have the same level.
    Experiment.objects.update(other_metrics=[])
    text = text_of(page(operator, experiment_url(better)))
    assert not [word for word in ("97.5 %", "widest", "Guardrails keep") if word in text]


def test_tables_of_the_report_are_stacked_on_a_phone(operator: Client, better: Experiment) -> None:
    shown = Screen(page(operator, experiment_url(better)))
    for label in ("Metrics", "Units"):
        assert shown.all(f"[aria-label={label}] table.flagstaff-stacked")


def test_result_of_an_earlier_look_names_it(operator: Client, running: Experiment) -> None:
    expose(running, "control", 500, 20, name="c", days=5)
    expose(running, "treatment", 500, 90, name="t", days=5)
    expose(running, "control", 500, 200, name="later-c", days=0)
    expose(running, "treatment", 500, 130, name="later-t", days=0)
    Experiment.objects.update(started_at=timezone.now() - timedelta(days=7))
    [orders] = table(page(operator, experiment_url(running)), METRICS_TABLE)
    assert orders[3].startswith("0 % · 95 % interval: \N{MINUS SIGN}")
    assert orders[5].startswith("better, significant at the look of ")


def test_wrong_shares_are_an_alarm_without_any_figure(
    operator: Client, running: Experiment
) -> None:
    expose_both(running, (2000, 200), (1500, 500))
    html = page(operator, experiment_url(running))
    text = Screen(html).part(".flagstaff-alarm").text
    assert text.startswith("The shares of the variants are wrong (sample-ratio mismatch): p < ")
    assert "control: 2,000 units, 1,750 expected" in text
    assert SHARES_ARE_WRONG in text
    assert "Repair the cause, then restart the experiment" in text
    assert "no verdict: the shares are wrong" in text_of(html)
    assert METRICS_TABLE not in html
    assert [row[:5] for row in table(html, UNITS_TABLE)] == [
        ["control", "50.0 %", "57.1 %", "2,000", "1,750"],
        ["treatment", "50.0 %", "42.9 %", "1,500", "1,750"],
    ]


def test_failing_or_missing_metric_leaves_the_page_usable(
    operator: Client, running: Experiment, settings: Any
) -> None:
    expose_both(running, (200, 20), (200, 30), days=1)
    Experiment.objects.update(other_metrics=["revenue"])
    settings.FLAGSTAFF["METRICS"] = {**METRICS, "orders": METRICS["leaking"]}
    html = page(operator, experiment_url(running))
    alarm = Screen(html).part(".flagstaff-alarm").text
    assert "There is no verdict: the metric orders fails: data exception" in alarm
    assert "Stop" in actions_of(html)
    assert table(html, UNITS_TABLE)[0][3] == "200"
    assert "revenue" in html
    assert "too early" not in html
    assert "private" not in html
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": {}}
    html = page(operator, experiment_url(running))
    assert "has no metric" in html
    assert "Stop" in actions_of(html)
    with override("de"):
        assert "hat keine Metrik 'orders'; vorhanden: keine" in text_of(
            page(operator, experiment_url(running))
        )


def test_page_says_what_is_missing_and_what_was_left_out(shop: Shop, operator: Client) -> None:
    experiment = shop.experiment(KEY)
    assert "There is no metric, so there is no verdict." in page(
        operator, experiment_url(experiment)
    )
    Experiment.objects.update(primary_metric="orders")
    for variant in ("control", "treatment"):
        expose(experiment, variant, 3, 0, name="both")
    text = text_of(page(operator, experiment_url(experiment)))
    assert "no units yet A verdict needs 100 more units" in text
    assert "Units that met two variants: 3. They are left out of all figures." in text


def test_page_concludes_nothing_before_there_are_figures(
    operator: Client, running: Experiment
) -> None:
    url = experiment_url(running)
    text = text_of(page(operator, url))
    assert "no units yet A verdict needs" in text
    assert "do not prove anything" not in text
    assert "What this means" not in text
    assert "treatment: no units yet" in ok(f"experiment report {KEY}").out
    expose_both(running, (60, 30), (60, 30))
    text = text_of(page(operator, url))
    assert "too early for a verdict A verdict needs" in text
    assert "What this means Keep in mind: The figures so far do not prove anything." in text


def test_page_explains_p_values_units_and_exposures(operator: Client, better: Experiment) -> None:
    html = page(operator, experiment_url(better))
    metrics, units = Screen(html).section("Metrics").text, Screen(html).section("Units").text
    assert " p value " in metrics
    assert "how likely chance alone gives such a change. Below 0.05, the result" in metrics
    assert (
        "During a run, a unit (here: user) always gets the same variant. Its exposure is" in units
    )


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"variants": 5}, "the column variants has JSON of another type"),
        ({"guardrails": 5}, "the column guardrails has JSON of another type"),
    ],
)
def test_experiment_that_sql_has_broken_is_shown_and_can_only_be_stopped_and_deleted(
    broken: dict[str, Any], why: str, operator: Client, running: Experiment
) -> None:
    Experiment.objects.update(**broken)
    why = f"the experiment cannot be read: {why}"
    for url in (EXPERIMENTS, experiment_url(running), f"{FLAGS}overview/"):
        assert why in text_of(page(operator, url)).replace("The exp", "the exp"), url
    assert page(operator, FLAGS)
    assert page(operator, flag_url(FeatureFlag.objects.create(key="new_checkout")))
    for verb in ("list", f"show {KEY}"):
        assert why in " ".join(typed(f"flags experiment {verb}").split()), verb
        assert why in ok(f"experiment {verb} --json").out, verb
    assert why in run(f"experiment report {KEY}").err
    assert actions_of(page(operator, experiment_url(running))) == {"Stop"}
    others = {
        "edit": "--description web",
        "start": "",
        "grow": "100 --yes",
        "restart": "--yes",
        "add-metric": "revenue --yes",
        "force": "7",
        "ship": "treatment --yes",
        "undo": "--yes",
    }
    for action, words in others.items():
        assert why in run(f"experiment {action} {KEY} {words}").err, action
        url = experiment_url(running, action)
        for response in (operator.get(url), operator.post(url, {"_confirmed": "1"})):
            assert any(why in error for error in errors_of(response)), action
    assert stored().state == "running"
    url = experiment_url(running, "stop")
    assert page(operator, url)
    assert "stopped" in messages_of(operator.post(url, {}, follow=True))[0]
    assert stored().state == "stopped"
    assert why in text_of(page(operator, EXPERIMENTS))
    Experiment.objects.update(state="running")
    ok(f"experiment stop {KEY}")
    assert stored().state == "stopped"
    assert page(operator, experiment_url(running, "delete"))
    ok(f"experiment delete {KEY} --yes")


def test_pages_have_no_inline_style_or_script(operator: Client, better: Experiment) -> None:
    views = ("change", "ship", "stop", "grow", "add-metric", "restart", "force", "delete")
    paths = ["", "add/", *(f"{better.pk}/{view}/" for view in views)]
    for path in paths:
        assert inline_of(page(operator, EXPERIMENTS + path)) == [], path


# The actions that a page links to.


def test_actions_depend_on_the_state(operator: Client, draft: Experiment) -> None:
    def names() -> set[str]:
        return actions_of(page(operator, experiment_url(draft)))

    begun = {"Grow the traffic", "Add a metric", "Restart"}
    assert names() == {"Start", "Edit", "Force a unit", "Delete"}
    experiments.start(KEY)
    assert names() == {"Stop", "Ship", "Force a unit", *begun}
    experiments.stop(KEY)
    assert names() == {"Start", "Ship", "Force a unit", "Delete", *begun}
    experiments.ship(KEY, "treatment")
    assert names() == {"Undo", "Stop", "Delete"}
    experiments.stop(KEY)
    assert names() == {"Undo", "Ship", "Force a unit", "Delete"}


def test_page_of_an_experiment_that_has_ended_says_what_its_buttons_do(
    operator: Client, running: Experiment
) -> None:
    def head() -> str:
        return " ".join(
            Screen(page(operator, experiment_url(running))).texts(".flagstaff-head-line")
        )

    experiments.stop(KEY)
    continues = (
        "“Start” continues it with the units that it already has. “Restart” begins anew and "
        "assigns all units to variants again."
    )
    assert head().endswith(continues)
    experiments.ship(KEY, "treatment")
    assert head().endswith("After “Undo”, it is stopped again.")
    experiments.stop(KEY)
    assert head().endswith("After “Undo”, it is shipped again.")


def test_ship_is_the_filled_button_only_if_a_verdict_says_better(
    operator: Client, running: Experiment
) -> None:
    def main() -> list[str]:
        return Screen(page(operator, experiment_url(running))).texts("a.flagstaff-main")

    assert main() == ["Stop…"]
    expose_both(running, (2000, 200), (2000, 320))
    assert main() == ["Ship…"]
    experiments.stop(KEY)
    assert main() == ["Start…"]


def test_undo_is_not_offered_without_what_it_needs(operator: Client, running: Experiment) -> None:
    experiments.ship(KEY, "treatment")
    assert "Undo" in actions_of(page(operator, experiment_url(running)))
    Experiment.objects.update(exposures_deleted_at=timezone.now())
    assert "Undo" not in actions_of(page(operator, experiment_url(running)))
