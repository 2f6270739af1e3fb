"""What never waits: whatever only takes something away is done at once, wherever it is asked for.

The table is that of `docs/how-to/rollout-and-kill.md`. That an import holds no lock before it is in
`tests/database/serialization`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple
from unittest.mock import Mock

import pytest

from flagstaff import changes, experiments, rollouts
from flagstaff.actions import Kind, all_actions
from flagstaff.changes import impact
from flagstaff.experiments.models import Experiment
from flagstaff.models import FeatureFlag, WaitingAction
from flagstaff.rollouts.models import Plan
from flagstaff.waiting.actions import cancel
from tests.support.admin_pages import production
from tests.support.concurrency import in_threads
from tests.support.conditions import needs
from tests.support.experiments import KEY as EXPERIMENT
from tests.support.pages import rows_of
from tests.support.screen import Screen
from tests.support.shop import STAFF, Shop
from tests.support.sql import rows, without_table
from tests.support.terminals import asked, run

FLAG, PLANNED = "new_checkout", "search_v2"
TOGGLE = "toggle_featureflag"


class Case(NamedTuple):
    """An action that never waits. A page does it with this right only."""

    line: str
    code: Callable[[], object]
    model: Any
    #: The column that it sets, and its value afterwards.
    column: str
    after: object
    #: A line that counts, and then asks a person about the same row.
    beside: str
    right: str = TOGGLE
    posted: dict[str, str] = {}

    def row(self) -> Any:
        """The oldest row: the flag without a plan."""
        return self.model.objects.earliest("pk")

    def stored(self) -> object:
        return getattr(self.row(), self.column)

    def page(self, action: str) -> str:
        meta = self.model._meta
        return f"/admin/{meta.app_label}/{meta.model_name}/{self.row().pk}/{action}/"


def plan_case(name: str, code: Callable[[str], object], state: str) -> Case:
    line = f"plan {name} {PLANNED}"
    return Case(line, lambda: code(PLANNED), Plan, "state", state, f"release {PLANNED}")


def off(name: str) -> Case:
    line, beside = f"{name} {FLAG}", f"release {FLAG}"
    return Case(line, lambda: changes.flags.disable(FLAG), FeatureFlag, "enabled", False, beside)


CASES = {
    "kill": off("kill"),
    "off": off("off"),
    "rollout": Case(
        line=f"rollout {FLAG} 0",
        code=lambda: changes.flags.set_rollout(FLAG, 0),
        model=FeatureFlag,
        column="rollout_percent",
        after=0,
        beside=f"release {FLAG}",
        posted={"percent": "0"},
    ),
    "plan pause": plan_case("pause", rollouts.pause, "paused"),
    "plan roll-back": plan_case("roll-back", rollouts.rollback, "rolled_back"),
    "experiment stop": Case(
        line=f"experiment stop {EXPERIMENT}",
        code=lambda: experiments.stop(EXPERIMENT),
        model=Experiment,
        column="state",
        after="stopped",
        beside=f"experiment ship {EXPERIMENT} treatment",
        right="change_experiment",
    ),
    "waiting cancel": Case(
        line="waiting cancel {waiting}",
        code=lambda: cancel.write(WaitingAction.objects.get().key),
        model=WaitingAction,
        column="state",
        after="cancelled",
        beside="waiting approve {waiting} --as ben",
    ),
}
WAYS = ("script", "person", "page", "code")


@pytest.fixture(autouse=True)
def waiting(shop: Shop) -> WaitingAction:
    """An action that waits, beside a flag that all users have, a plan and an experiment."""
    for name in ("ana", "ben"):
        shop.user(name)
    shop.flag(FLAG, rollout_percent=99, rules=[{"conditions": [STAFF]}])
    waiting = shop.waiting(f"rollout {FLAG} 100 --request")
    shop.flag(PLANNED, rules=[{"conditions": [STAFF]}])
    shop.plan(PLANNED)
    shop.experiment()
    return waiting


@pytest.fixture
def count(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Production, where all else needs an approval and a reason. Nobody can count the users."""
    production(settings, APPROVAL="always", REQUIRE_REASON=True)
    count = Mock(side_effect=AssertionError)
    monkeypatch.setattr(impact, "_count", count)
    return count


@pytest.mark.parametrize(
    ("name", "way"),
    # On pages, "off" is the kill.
    [(name, way) for name in CASES for way in WAYS if (name, way) != ("off", "page")],
)
def test_action_needs_no_approval_name_reason_typed_key_count_or_other_right(
    name: str, way: str, shop: Shop, waiting: WaitingAction, count: Mock
) -> None:
    case = CASES[name]
    if way == "code":
        case.code()
    elif way == "page":
        client = shop.client("bob", case.right)
        response = client.post(case.page(name.rsplit(maxsplit=1)[-1]), case.posted)
        assert response.status_code == 302, response.content.decode()
    else:
        # Without --yes, --as and --reason. A terminal would fail if it asked.
        ran = (run if way == "script" else asked)(case.line.format(waiting=waiting.pk))
        # No worker is connected, which the verbs say that wait for them.
        assert ran.status in {0, 7}, ran.err
    assert case.stored() == case.after
    assert not count.called
    assert WaitingAction.objects.count() == 1


def test_brake_is_written_before_users_are_counted_whom_it_gave_another_flag(
    shop: Shop, count: Mock
) -> None:
    shop.flag("old_checkout", rules=needs(FLAG, is_on=False))
    stored = list[object]()
    count.side_effect = lambda *_counted: stored.append(CASES["rollout"].stored())
    run(f"rollout {FLAG} 0")
    assert stored == [0]


def test_cancellation_needs_no_history(shop: Shop, waiting: WaitingAction) -> None:
    client, page = shop.client("ana"), CASES["waiting cancel"].page("cancel")
    with without_table("flagstaff_change"):
        ran = run(f"waiting cancel {waiting.pk} --dry-run")
        shown = Screen(client.get(page))
        response = client.post(page)
    assert "cancelled\ndry run: nothing was written\n" in ran.err
    [[_action, now, after]] = shown.part("#content table").rows
    assert (now, after) == ("will not run: this cannot be checked now", "will not run")
    assert response.status_code == 302
    assert CASES["waiting cancel"].stored() == "cancelled"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", CASES)
def test_action_waits_for_no_lock_of_a_question_about_its_row(
    name: str, waiting: WaitingAction
) -> None:
    case, seen = CASES[name], list[object]()

    def act() -> None:
        rows("SET lock_timeout = '100ms'")
        case.code()
        seen.append(case.stored())

    def answer() -> str:
        in_threads(act)
        return "n"

    asked(case.beside.format(waiting=waiting.pk), answer)
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
    lines = [
        line.strip("`") for line, *_places in rows_of("how-to/rollout-and-kill.md", "never waits")
    ]
    assert lines == [name.replace("rollout", "rollout KEY 0") for name in CASES]
