"""The overview in the admin: what needs attention, and what runs."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from django.utils.translation import override

from flagstaff import acting_as, changes, experiments, rollouts
from flagstaff.experiments.models import Experiment, StoredVerdict
from flagstaff.models import Change, FeatureFlag, KeyValueStore, StaleCount
from flagstaff.rollouts.models import Plan, State
from tests.support.admin_pages import (
    FLAGS,
    RECENT,
    VALUES,
    count_queries,
    events_of,
    page,
    rows_of,
    staff,
)
from tests.support.experiment_pages import experiment_url
from tests.support.fake_workers import Join, join
from tests.support.plan_pages import plan_url, text_of
from tests.support.rollouts import (
    KEY,
    STEPS,
    drive_recently,
    harm,
    leave_unguarded,
    make_flag,
    plan_of,
)
from tests.support.sql import rows as execute
from tests.support.sql import without_table
from tests.support.terminals import delete_usage, flags
from tests.support.usage_rows import add_usage

pytestmark = pytest.mark.django_db

__all__ = ["join"]

OVERVIEW = f"{FLAGS}overview/"
NOTHING = "Nothing needs attention."


@pytest.fixture(autouse=True)
def quiet() -> None:
    """No change, no unknown key, and no stale flag."""
    Change.objects.all().delete()
    with transaction.atomic():
        delete_usage()
    StaleCount.objects.create(pk=1, count=0, at=timezone.now())


@pytest.fixture
def plan() -> Plan:
    """A plan that runs and is watched."""
    drive_recently()
    make_flag()
    return rollouts.start(KEY, STEPS, guards=["errors"])


@pytest.fixture
def experiment() -> Experiment:
    """An experiment that runs."""
    experiments.create("button")
    return experiments.start("button")


def block(html: str, heading: str) -> list[str]:
    """The rows of the table of a block as text; none if the page has no such block."""
    for part in html.split("</section>"):
        if f">{heading}</h2>" in part and "<tbody>" in part:
            return rows_of(part)
    return []


def attention(html: str) -> list[str]:
    return block(html, "Needs attention")


def running(html: str) -> list[str]:
    return block(html, "Running")


def store(experiment: Experiment, problem: str = "", **outcomes: str) -> None:
    """Stores a verdict, as run-jobs does."""
    at = timezone.now().replace(minute=0)
    verdict = {"run": experiment.run, "outcomes": outcomes, "problem": problem, "at": at}
    StoredVerdict.objects.update_or_create(experiment=experiment, defaults=verdict)


def trip() -> None:
    """Lets run-jobs roll the plan back, because a guard trips."""
    harm()
    assert flags("run-jobs").status == 0
    assert plan_of().state == State.ROLLED_BACK


# The page.


def test_quiet_page_says_that_nothing_needs_attention(operator: Client) -> None:
    html = page(operator, OVERVIEW)

    assert text_of(html).count(NOTHING) == 1
    assert "Running</h2>" not in html


def test_page_is_german(operator: Client, experiment: Experiment) -> None:
    store(experiment, treatment="worse")
    with override("de"):
        html = page(operator, OVERVIEW)

    [row] = block(html, "Handlungsbedarf")
    assert re.search(r"die Testvariante ist schlechter Tag 1, Stand \d\d:00", row)


@pytest.mark.parametrize("use_tz", [True, False])
def test_page_works_without_time_zones(
    use_tz: bool, operator: Client, plan: Plan, experiment: Experiment, settings: Any
) -> None:
    store(experiment, treatment="undecided")
    settings.USE_TZ = use_tz
    html = page(operator, OVERVIEW)

    assert [row.split()[0] for row in running(html)] == [KEY, "button"]


def test_sqlite_leaves_out_what_needs_postgresql(
    operator: Client, plan: Plan, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    html = page(operator, OVERVIEW)

    assert NOTHING in text_of(html)
    assert running(html) == []


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("flagstaff_rollouts_plan", "Feature flags: rollout plans"),
        ("flagstaff_experiments_storedverdict", "Feature flags: experiments"),
        ("flagstaff_stalecount", "Stale flags"),
        ("flagstaff_token", "Workers"),
        ("flagstaff_usage", "Unknown keys"),
    ],
)
def test_part_whose_table_is_missing_is_a_sentence(
    table: str, name: str, operator: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with without_table(table):
        html = page(operator, OVERVIEW)

    assert f"“{name}” cannot be read. Run “manage.py migrate”" in text_of(html)
    assert f"the overview cannot read: {name}" in caplog.text


def test_page_makes_at_most_eleven_queries_whatever_the_numbers(
    operator: Client, plan: Plan, experiment: Experiment, admin_user: User
) -> None:
    def count() -> int:
        # Beside the session and the user.
        return count_queries(operator, OVERVIEW) - 2

    with acting_as(admin_user):
        changes.flags.set_rollout(make_flag("other").key, 30)
    trip()
    store(experiment, treatment="better")
    few = count()
    for number in range(20):
        make_flag(f"flag{number}")
        rollouts.start(f"flag{number}", STEPS)
        experiments.create(f"experiment{number}")
        store(experiments.start(f"experiment{number}"), treatment="worse")

    assert count() == few <= 11
    assert len(running(page(operator, OVERVIEW))) == 41


# Permissions.


def test_user_sees_only_the_parts_that_the_permissions_allow(
    plan: Plan, experiment: Experiment
) -> None:
    execute("INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('gateway', '1')")
    html = page(staff("view_experiment"), OVERVIEW)

    assert [row.split()[0] for row in running(html)] == ["button"]


def test_user_who_may_view_values_sees_no_plans(plan: Plan) -> None:
    KeyValueStore.objects.create(key="gateway", value=1)
    html = page(staff("view_keyvaluestore"), OVERVIEW)

    assert running(html) == []
    assert VALUES not in html.partition('id="content"')[2]


# Rollout plans.


def test_running_plan_shows_its_step_percentage_and_time(operator: Client, plan: Plan) -> None:
    html = page(operator, OVERVIEW)

    [row] = running(html)
    assert row.startswith(f"{KEY} rollout plan running Step 1 of 3, 5 %, until ")
    assert f'href="{plan_url(plan)}"' in html
    assert attention(html) == []


def test_unguarded_plan_needs_attention_in_red(operator: Client, plan: Plan) -> None:
    leave_unguarded()
    html = page(operator, OVERVIEW)

    [row] = attention(html)
    assert row.startswith(f"{KEY} rollout plan unguarded Step 1 of 3, 5 %, until ")
    assert row.endswith("no guard can stop it, because run-jobs does not watch the plan.")
    assert 'flagstaff-tripped">unguarded<' in html


@pytest.mark.parametrize("state", [State.HOLDING, State.PAUSED])
def test_plan_that_waits_needs_attention_with_its_reason(
    operator: Client, plan: Plan, state: State
) -> None:
    Plan.objects.update(state=state, reason="waits for users")

    [row] = attention(page(operator, OVERVIEW))
    assert row.startswith(f"{KEY} rollout plan {state.value} Step 1 of 3, 5 %")
    assert row.endswith("waits for users.")


def test_plan_that_tripped_is_red_until_somebody_acts(operator: Client, plan: Plan) -> None:
    trip()
    html = page(operator, OVERVIEW)
    [row] = attention(html)
    assert "rolled back Step 1 of 3, 5 %" in row
    assert " 300 of " in row
    assert 'flagstaff-tripped">rolled back<' in html

    assert running(html) == []
    rollouts.create(KEY, STEPS)
    assert attention(page(operator, OVERVIEW)) == []


def test_plan_that_a_person_rolled_back_is_not_listed(operator: Client, plan: Plan) -> None:
    rollouts.rollback(KEY)
    html = page(operator, OVERVIEW)
    assert (running(html), attention(html)) == ([], [])


# Experiments.


def test_experiment_without_a_verdict_says_that_run_jobs_has_not_run(
    operator: Client, experiment: Experiment
) -> None:
    Experiment.objects.update(started_at=timezone.now() - timedelta(days=4, hours=1))
    html = page(operator, OVERVIEW)

    text = "Day 5. No verdict yet: run-jobs has not run since the start."
    assert running(html) == [f"button experiment running {text}"]
    assert f'href="{experiment_url(experiment)}"' in html


def test_undecided_experiment_only_runs(operator: Client, experiment: Experiment) -> None:
    store(experiment, treatment="undecided")
    html = page(operator, OVERVIEW)

    [row] = running(html)
    assert re.fullmatch(r"button experiment running Day 1: undecided, as of \d\d:00", row)
    assert attention(html) == []


@pytest.mark.parametrize(
    ("outcome", "label", "badge"),
    [
        ("mismatch", "no verdict: the shares are wrong", "flagstaff-tripped"),
        ("harm", "stop: a guardrail got worse", "flagstaff-tripped"),
        ("better", "the treatment is better", "flagstaff-on"),
    ],
)
def test_verdict_to_act_on_needs_attention(
    outcome: str, label: str, badge: str, operator: Client, experiment: Experiment
) -> None:
    store(experiment, treatment=outcome)
    html = page(operator, OVERVIEW)

    [row] = attention(html)
    assert row.startswith(f"button experiment {label} Day 1, as of ")
    assert f'{badge}">{label}<' in html


def test_most_urgent_of_several_outcomes_is_the_label(
    operator: Client, experiment: Experiment
) -> None:
    store(experiment, red="better", blue="harm")

    [row] = attention(page(operator, OVERVIEW))
    text = "red: the treatment is better; blue: stop: a guardrail got worse"
    assert row.startswith(f"button experiment stop: a guardrail got worse {text}, as of ")


def test_experiment_that_has_no_verdict_says_why(operator: Client, experiment: Experiment) -> None:
    store(experiment, problem="the metric orders fails")

    [row] = attention(page(operator, OVERVIEW))
    assert row.startswith("button experiment no verdict the metric orders fails, as of ")


def test_verdict_of_an_earlier_run_is_not_shown(operator: Client, experiment: Experiment) -> None:
    store(experiment, treatment="worse")
    Experiment.objects.update(run=2)
    html = page(operator, OVERVIEW)

    assert attention(html) == []
    assert "run-jobs has not run since the start" in running(html)[0]


def test_time_of_an_older_verdict_has_its_date(operator: Client, experiment: Experiment) -> None:
    store(experiment, treatment="undecided")
    StoredVerdict.objects.update(at="2026-01-02T14:00:00Z")

    assert running(page(operator, OVERVIEW))[0].endswith("as of Jan. 2, 2026, 14:00")


def test_experiment_that_does_not_run_is_not_shown(
    operator: Client, experiment: Experiment
) -> None:
    store(experiment, treatment="worse")
    experiments.stop("button")
    html = page(operator, OVERVIEW)

    assert (attention(html), running(html)) == ([], [])


# Stale flags, unknown keys and workers.


def test_number_of_stale_flags_is_linked_with_its_time(operator: Client) -> None:
    StaleCount.objects.update(count=2, at=timezone.now().replace(minute=0))
    html = page(operator, OVERVIEW)

    [row] = attention(html)
    assert re.fullmatch(r"Stale flags 2 2 flags are stale, as of \d\d:00\.", row)
    assert 'href="/admin/flagstaff/featureflag/stale/"' in html.partition('id="content"')[2]


def test_stale_flags_that_were_never_counted_are_a_sentence(operator: Client) -> None:
    StaleCount.objects.all().delete()
    text = text_of(page(operator, OVERVIEW))

    assert "The stale flags have not been counted: run-jobs has not run." in text
    assert NOTHING in text


def test_unknown_keys_of_the_last_day_are_counted(operator: Client) -> None:
    for key, days in (("new_chekout", 0), ("dark_mod", 0.5), ("older", 3)):
        add_usage(key, "unknown", 1, days)
    html = page(operator, OVERVIEW)

    sentence = "In the last 24 hours, your code evaluated 2 keys that have no flag."
    assert attention(html) == [f"Unknown keys 2 {sentence}"]
    assert 'href="/admin/flagstaff/featureflag/unknown-keys/"' in html


@pytest.mark.django_db(transaction=True)
def test_worker_that_is_behind_needs_attention(operator: Client, join: Join) -> None:
    FeatureFlag.objects.create(key=KEY)
    worker = join("web-2", pid=7)
    worker.load()
    assert attention(page(operator, OVERVIEW)) == []
    FeatureFlag.objects.update(enabled=True)
    # A worker may report a change some seconds later.
    assert attention(page(operator, OVERVIEW)) == []
    execute("UPDATE flagstaff_token SET at = at - interval '7 seconds'")
    html = page(operator, OVERVIEW)

    [row] = attention(html)
    assert row.startswith("Workers behind 1 of 1 workers behind: web-2 (pid 7) for ")
    assert 'href="/admin/flagstaff/featureflag/workers/"' in html.partition('id="content"')[2]


def test_page_links_to_the_changes_of_today(operator: Client) -> None:
    make_flag()
    [url] = re.findall(rf'href="({RECENT}\?[^"]*)"', page(operator, OVERVIEW))
    assert len(events_of(page(operator, unescape(url)))) == 1
    assert RECENT not in page(staff("view_experiment"), OVERVIEW)
