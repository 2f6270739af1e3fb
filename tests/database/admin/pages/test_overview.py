"""The overview in the admin: what needs attention, what runs, and what is stale."""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models.functions import Now
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
    staff,
    text_of,
)
from tests.support.experiments import experiment_url
from tests.support.fake_workers import Join, join
from tests.support.plans import (
    KEY,
    STEPS,
    drive_recently,
    leave_unguarded,
    make_flag,
    plan_url,
    trip,
)
from tests.support.screen import Screen
from tests.support.sql import rows as execute
from tests.support.sql import without_table
from tests.support.usage_rows import add_usage, delete_usage

__all__ = ["join"]

OVERVIEW = f"{FLAGS}overview/"
NOTHING = "Nothing needs attention."
ATTENTION, RUNNING = "Needs attention", "Running"


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
    experiments.create("button")
    return experiments.start("button")


def block(html: str, heading: str) -> list[str]:
    """The rows of the table of a block as text; none if the page has no such block."""
    sections = (part for part in Screen(html).all("section") if part.texts("h2") == [heading])
    return [row for section in sections for row in section.texts("tbody tr")]


def store(
    problem: str = "",
    *,
    key: str = "button",
    at: object = None,
    other_run: bool = False,
    **outcomes: str,
) -> None:
    """Stores the verdict of an experiment, as run-jobs does."""
    experiment = Experiment.objects.get(key=key)
    verdict = {"run": experiment.run + other_run, "outcomes": outcomes, "problem": problem}
    verdict["at"] = at or timezone.localtime().replace(minute=0)
    StoredVerdict.objects.update_or_create(experiment=experiment, defaults=verdict)


def test_quiet_page_says_that_nothing_needs_attention(operator: Client) -> None:
    html = page(operator, OVERVIEW)
    assert text_of(html).count(NOTHING) == 1
    assert "Running</h2>" not in html


def test_page_is_german(operator: Client, experiment: Experiment) -> None:
    store(treatment="worse")
    with override("de"):
        html = page(operator, OVERVIEW)
    [row] = block(html, "Handlungsbedarf")
    time = r"\d+\. \w+ \d{4}, \d\d:00:\d\d \S+"
    assert re.search(f"die Testvariante ist schlechter Tag 1, Stand {time}", row)


def test_page_works_without_time_zones(
    operator: Client, plan: Plan, experiment: Experiment, settings: Any
) -> None:
    store(treatment="undecided")
    settings.USE_TZ = False
    html = page(operator, OVERVIEW)
    assert [row.split()[0] for row in block(html, RUNNING)] == [KEY, "button"]


def test_sqlite_leaves_out_what_needs_postgresql(
    operator: Client, plan: Plan, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    html = page(operator, OVERVIEW)
    assert NOTHING in text_of(html)
    assert block(html, RUNNING) == []


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
    rollouts.start(make_flag("running").key, STEPS)
    store(treatment="better")
    few = count()
    for number in range(4):
        make_flag(f"flag{number}")
        rollouts.start(f"flag{number}", STEPS)
        experiments.create(f"experiment{number}")
        experiments.start(f"experiment{number}")
        store(key=f"experiment{number}", treatment="worse")
    assert count() == few <= 11
    assert len(block(page(operator, OVERVIEW), RUNNING)) == 10


def test_flag_whose_rules_keep_users_out_needs_attention(operator: Client) -> None:
    staff = {"attribute": "is_staff", "operator": "in", "values": [True]}
    rules = [{"conditions": [staff], "rollout_percent": 10}]
    make_flag("by_rules", rollout_percent=100, rules=rules)
    make_flag("in_rollout", rollout_percent=50, rules=rules)
    html = page(operator, OVERVIEW)
    [row] = block(html, ATTENTION)
    assert row.startswith("by_rules flag")
    # On a phone, the details are below the state, not beside it and out of sight.
    assert Screen(html).all("table.flagstaff-stacked")
    assert "Rule 1 keeps 90 % of its users out" in row


@pytest.mark.parametrize(
    ("permission", "keys"), [("view_experiment", ["button"]), ("view_keyvaluestore", [])]
)
def test_user_sees_only_the_parts_that_the_permissions_allow(
    permission: str, keys: list[str], plan: Plan, experiment: Experiment
) -> None:
    KeyValueStore.objects.create(key="gateway", value=1)
    html = page(staff(permission), OVERVIEW)
    assert [row.split()[0] for row in block(html, RUNNING)] == keys
    assert block(html, ATTENTION) == []
    assert VALUES not in Screen(html).part("#content").html


def stop() -> None:
    store(treatment="worse")
    experiments.stop("button")


def better_with_guardrails() -> None:
    """Of its guardrails, a stored verdict says only that none stops the treatment."""
    Experiment.objects.update(guardrails={"refunds": 0.01})
    store(a="better")


STEP, HOUR = "Step 1 of 3, 5 %", r"as of \w+\.? \d+, \d{4}, \d\d:00:\d\d \S+"
UNGUARDED = r"no guard can stop it, because run-jobs does not watch the plan\."
NO_VERDICT = r"No verdict yet: run-jobs has not run since the start\."
WRONG, HARM = "no verdict: the shares are wrong", "stop: a guardrail got worse"
BETTER, WORSE = "the treatment is better", "the treatment is worse"
LOOK_AT_GUARDRAILS = "the treatment is better: look at its guardrails"
OLD = "2026-01-02T14:00:00Z"
wait = partial(Plan.objects.update, reason="waits for users")
FIFTH_DAY = Now() - timedelta(days=4, hours=1)
start_earlier = partial(Experiment.objects.update, started_at=FIFTH_DAY)
# What happens to the row, and its block, its label and its text; no block without a row.
PLANS: dict[str, tuple[Callable[[], object], str, str, str]] = {
    "running": (lambda: None, RUNNING, "running", f"{STEP}, until .*"),
    "unguarded": (leave_unguarded, ATTENTION, "unguarded", f"{STEP}, until .*{UNGUARDED}"),
    "holding": (partial(wait, state=State.HOLDING), ATTENTION, "holding", f"{STEP}.*for users."),
    "paused": (partial(wait, state=State.PAUSED), ATTENTION, "paused", f"{STEP}.*for users."),
    "tripped": (trip, ATTENTION, "rolled back", "Step 1 of 3, 5 → 0 %.* 300 of .*"),
    "rolled back": (partial(rollouts.rollback, KEY), "", "", ""),
}
EXPERIMENTS: dict[str, tuple[Callable[[], object], str, str, str]] = {
    "no verdict yet": (start_earlier, RUNNING, "running", rf"Day 5\. {NO_VERDICT}"),
    "verdict of another run": (
        partial(store, other_run=True, treatment="worse"),
        RUNNING,
        "running",
        rf"Day 1\. {NO_VERDICT}",
    ),
    "undecided": (lambda: store(a="undecided"), RUNNING, "running", f"Day 1: undecided, {HOUR}"),
    "old": (
        partial(store, at=OLD, a="undecided"),
        RUNNING,
        "running",
        r"Day 1: undecided, as of Jan\. [23], 2026, \d\d:00:00 \S+",
    ),
    "mismatch": (lambda: store(a="mismatch"), ATTENTION, WRONG, f"Day 1, {HOUR}"),
    "harm": (lambda: store(a="harm"), ATTENTION, HARM, f"Day 1, {HOUR}"),
    "worse": (lambda: store(a="worse"), ATTENTION, WORSE, f"Day 1, {HOUR}"),
    "better": (lambda: store(a="better"), ATTENTION, BETTER, f"Day 1, {HOUR}"),
    "better with guardrails": (
        better_with_guardrails,
        ATTENTION,
        LOOK_AT_GUARDRAILS,
        f"Day 1, {HOUR}",
    ),
    "most urgent": (
        lambda: store(red="better", blue="harm"),
        ATTENTION,
        HARM,
        f"red: {BETTER}; blue: {HARM}, {HOUR}",
    ),
    "problem": (lambda: store("it fails"), ATTENTION, "no verdict", f"it fails, {HOUR}"),
    "stopped": (stop, "", "", ""),
}
RED = "unguarded", "rolled back", WRONG, HARM, WORSE
COLOURS = dict.fromkeys(RED, "tripped") | {BETTER: "on", LOOK_AT_GUARDRAILS: "partial"}
ROWS = [("plan", *row) for row in PLANS.values()]
ROWS += [("experiment", *row) for row in EXPERIMENTS.values()]


@pytest.mark.parametrize(
    ("name", "happens", "heading", "label", "text"), ROWS, ids=[*PLANS, *EXPERIMENTS]
)
@pytest.mark.one_in(4)
def test_plan_and_experiment_are_shown_by_what_they_need(  # noqa: PLR0913, PLR0917
    name: str,
    happens: Callable[[], object],
    heading: str,
    label: str,
    text: str,
    operator: Client,
    request: pytest.FixtureRequest,
) -> None:
    row = request.getfixturevalue(name)
    happens()
    html = page(operator, OVERVIEW)
    kind = f"{KEY} rollout plan" if name == "plan" else "button experiment"
    # An experiment that needs attention runs, too.
    runs = heading == RUNNING or (name == "experiment" and heading == ATTENTION)
    assert (len(block(html, RUNNING)), len(block(html, ATTENTION))) == (runs, heading == ATTENTION)
    if heading:
        [shown] = block(html, heading)
        assert re.fullmatch(f"{kind} {label} {text}", shown)
        assert f'href="{plan_url(row) if name == "plan" else experiment_url(row)}"' in html
    assert label not in COLOURS or f'flagstaff-{COLOURS[label]}">{label}<' in html


def test_plan_that_tripped_needs_no_attention_after_a_new_one(operator: Client, plan: Plan) -> None:
    trip()
    rollouts.create(KEY, STEPS)
    assert block(page(operator, OVERVIEW), ATTENTION) == []


# Stale flags, unknown keys and workers.


def test_number_of_stale_flags_is_linked_with_its_time(operator: Client) -> None:
    StaleCount.objects.update(count=2, at=timezone.localtime().replace(minute=0))
    html = page(operator, OVERVIEW)
    # As in the list of flags, it is no flag that needs attention.
    assert NOTHING in text_of(html)
    [row] = block(html, "Stale")
    assert re.fullmatch(r"Stale flags 2 2 flags are stale, as of .*, \d\d:00:\d\d \S+\.", row)
    assert Screen(html).all('#content a[href="/admin/flagstaff/featureflag/stale/"]')


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
    assert block(html, ATTENTION) == [f"Unknown keys 2 {sentence}"]
    assert 'href="/admin/flagstaff/featureflag/unknown-keys/"' in html


@pytest.mark.django_db(transaction=True)
def test_worker_that_is_behind_needs_attention(operator: Client, join: Join) -> None:
    FeatureFlag.objects.create(key=KEY)
    worker = join("web-2", pid=7)
    worker.load()
    assert block(page(operator, OVERVIEW), ATTENTION) == []
    FeatureFlag.objects.update(enabled=True)
    # A worker may report a change some seconds later.
    assert block(page(operator, OVERVIEW), ATTENTION) == []
    execute("UPDATE flagstaff_token SET at = at - interval '7 seconds'")
    html = page(operator, OVERVIEW)
    [row] = block(html, ATTENTION)
    assert row.startswith("Workers behind 1 of 1 worker behind: web-2 (pid 7) for ")
    assert Screen(html).all('#content a[href="/admin/flagstaff/featureflag/workers/"]')


def test_page_links_to_the_changes_of_today(operator: Client) -> None:
    make_flag()
    [url] = Screen(page(operator, OVERVIEW)).attributes(f'a[href^="{RECENT}?"]', "href")
    assert len(events_of(page(operator, url))) == 1
    assert RECENT not in page(staff("view_experiment"), OVERVIEW)
