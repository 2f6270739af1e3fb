"""What never waits: whatever only takes something away is done at once, wherever it is asked for.

The table is that of `docs/operations.md`. That an import holds no lock before it is in
`tests/database/serialization`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User
from django.db import connection

from flagstaff import changes, experiments, rollouts
from flagstaff.actions import Kind, all_actions
from flagstaff.changes import impact
from flagstaff.experiments.models import Experiment
from flagstaff.models import FeatureFlag, WaitingAction
from flagstaff.rollouts.models import Plan
from flagstaff.waiting.actions import cancel
from tests.support.admin_pages import production, staff
from tests.support.pages import rows_of
from tests.support.rollouts import drive_recently
from tests.support.terminals import asked, run
from tests.support.waiting import ask

pytestmark = pytest.mark.django_db

FLAG, PLANNED, BUTTON = "pay", "search", "button"


class Case(NamedTuple):
    """An action that never waits, and the three ways to ask for it."""

    line: str
    code: Callable[[], object]
    page: Callable[[], str]
    #: The only right of the person on the page.
    right: str
    stored: Callable[[], object]
    after: object
    #: A line that counts, and then asks a person about the same row.
    beside: str = f"release {FLAG}"
    posted: dict[str, str] = {}


def flag_page(name: str) -> str:
    return f"/admin/flagstaff/featureflag/{flag(FLAG).pk}/{name}/"


def flag(key: str) -> Any:
    return FeatureFlag.objects.get(key=key)


def plan_case(name: str, code: Callable[[str], object], after: str) -> Case:
    def page() -> str:
        return f"/admin/flagstaff_rollouts/plan/{Plan.objects.get().pk}/{name}/"

    return Case(
        line=f"plan {name} {PLANNED}",
        code=lambda: code(PLANNED),
        page=page,
        right=TOGGLE,
        stored=lambda: Plan.objects.get().state,
        after=after,
        beside=f"release {PLANNED}",
    )


def waiting() -> Any:
    return WaitingAction.objects.get()


def experiment() -> Any:
    return Experiment.objects.get()


def is_on() -> object:
    return flag(FLAG).enabled


TOGGLE = "toggle_featureflag"
CASES = {
    "kill": Case(
        line=f"kill {FLAG}",
        code=lambda: changes.flags.disable(FLAG),
        page=lambda: flag_page("kill"),
        right=TOGGLE,
        stored=is_on,
        after=False,
    ),
    "off": Case(
        line=f"off {FLAG}",
        code=lambda: changes.flags.disable(FLAG),
        page=lambda: flag_page("off"),
        right=TOGGLE,
        stored=is_on,
        after=False,
    ),
    "rollout": Case(
        line=f"rollout {FLAG} 0",
        code=lambda: changes.flags.set_rollout(FLAG, 0),
        page=lambda: flag_page("rollout"),
        right=TOGGLE,
        stored=lambda: flag(FLAG).rollout_percent,
        after=0,
        posted={"percent": "0"},
    ),
    "plan pause": plan_case("pause", rollouts.pause, "paused"),
    "plan roll-back": plan_case("roll-back", rollouts.rollback, "rolled_back"),
    "experiment stop": Case(
        line=f"experiment stop {BUTTON}",
        code=lambda: experiments.stop(BUTTON),
        page=lambda: f"/admin/flagstaff_experiments/experiment/{experiment().pk}/stop/",
        right="change_experiment",
        stored=lambda: experiment().state,
        after="stopped",
        beside=f"experiment ship {BUTTON} treatment",
    ),
    "waiting cancel": Case(
        line="waiting cancel {waiting}",
        code=lambda: cancel.write(waiting().key),
        page=lambda: f"/admin/flagstaff/waitingaction/{waiting().pk}/cancel/",
        right=TOGGLE,
        stored=lambda: waiting().state,
        after="cancelled",
        beside="waiting approve {waiting} --as bob",
    ),
}


@pytest.fixture(autouse=True)
def rows() -> None:
    """A flag that all users have, a plan and an experiment that run, and an action that waits."""
    User.objects.create_superuser("ana")
    User.objects.create_superuser("bob")
    everybody = [{"conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}]}]
    for key, percent in ((FLAG, 99), (PLANNED, 0)):
        changes.flags.create(key, enabled=True, rollout_percent=percent, rules=everybody)
    ask(f"rollout {FLAG} 100 --request")
    drive_recently()
    rollouts.start(PLANNED, ["50:1h", "100"])
    experiments.create(BUTTON)
    experiments.start(BUTTON)


@pytest.fixture
def obstacles(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Production, where all else needs an approval and a reason. Returns what is counted."""
    production(settings, APPROVAL="always", REQUIRE_REASON=True)
    counted: list[object] = []

    def count(*given: object) -> None:
        counted.append(given)
        raise AssertionError

    monkeypatch.setattr(impact, "_count", count)
    return counted


def by_script(case: Case) -> None:
    # Without --yes, --as and --reason, and without a terminal that could be asked.
    ran = run(case.line.format(waiting=waiting().pk))
    # No worker is connected, which the verbs say that wait for them.
    assert ran.status in {0, 7}, ran.err


def by_person(case: Case) -> None:
    # On a terminal, which would fail if it asked.
    assert asked(case.line.format(waiting=waiting().pk)).status in {0, 7}


def by_page(case: Case) -> None:
    response = staff(case.right).post(case.page(), case.posted)
    assert response.status_code == 302, response.content.decode()


def by_code(case: Case) -> None:
    case.code()


@pytest.mark.parametrize(
    ("name", "way"),
    [
        (name, way)
        for name in CASES
        for way in (by_script, by_person, by_page, by_code)
        # On pages, it is the kill.
        if (name, way) != ("off", by_page)
    ],
)
def test_action_needs_no_approval_name_reason_typed_key_count_or_other_right(
    name: str, way: Callable[[Case], None], obstacles: list[object]
) -> None:
    case = CASES[name]
    way(case)
    assert case.stored() == case.after
    assert not obstacles
    assert WaitingAction.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", CASES)
def test_action_waits_for_no_lock_of_a_question_about_its_row(name: str) -> None:
    case, seen = CASES[name], list[object]()

    def act() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '100ms'")
            case.code()
            seen.append(case.stored())
        finally:
            connection.close()

    def answer() -> str:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(act).result()
        return "n"

    asked(case.beside.format(waiting=waiting().pk), answer)
    assert seen == [case.after]


def test_table_has_each_action_that_always_runs_and_so_has_the_documentation() -> None:
    kinds = [*Kind, "plan", "experiment", "waiting"]
    names = [
        action.name if kind is Kind.FLAG else f"{action.noun} {action.name}"
        for kind in kinds
        for action in all_actions(kind)
        if action.always_runs
    ]
    assert sorted(names) == sorted(CASES)
    lines = [line.strip("`") for line, *_places in rows_of("operations.md", "never waits")]
    assert lines == [name.replace("rollout", "rollout KEY 0") for name in CASES]
