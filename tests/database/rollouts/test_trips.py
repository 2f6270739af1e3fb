"""Trips: stored, carried out later, and what a person does in between."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import transaction

from flagstaff import acting_as, changes, rollouts
from flagstaff._tables.rows import Kind
from flagstaff.history.log import version_of
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.driver import PlanReport, run_plans
from flagstaff.rollouts.models import ACTOR, Plan, PlanEvent, State
from flagstaff.rollouts.status import plan_record
from tests.support.concurrency import in_threads, run_during
from tests.support.fixtures import COMMITTED
from tests.support.guards import ORDERS_FINE, RETURNED
from tests.support.history import flag_history
from tests.support.plans import KEY, RULES, events, plan_of, rollout
from tests.support.shop import Shop
from tests.support.sql import rolled_back, rows

pytestmark = COMMITTED


@pytest.fixture(autouse=True)
def guarded(flag: FeatureFlag, shop: Shop) -> Plan:
    """A plan at its first step, with the guard of these tests."""
    return shop.plan(KEY, guards=[f"function={ORDERS_FINE}"])


def trip(monkeypatch: pytest.MonkeyPatch, text: object = "few orders") -> list[PlanReport]:
    """Runs the driver while the guard returns this text, and then is fine again."""
    with monkeypatch.context() as patch:
        patch.setattr(RETURNED, text)
        return run_plans()


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trip that is stored, by a driver that was killed before it rolled back."""

    def killed(plan: Plan) -> PlanReport:
        rows("SELECT pg_terminate_backend(pg_backend_pid())")
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr("flagstaff.rollouts.driver.carry_out_trip", killed)
        [[report]] = in_threads(lambda: trip(monkeypatch))
    assert report.error in {"OperationalError", "InterfaceError"}
    assert (plan_of().state, rollout(), events()[-1]) == (State.RUNNING, 5, "started")


@pytest.mark.parametrize("bad", ["\0", "\ud83d"], ids=["NUL", "half a pair"])
def test_trip_with_a_text_that_cannot_be_stored_rolls_back(
    monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    [report] = trip(monkeypatch, f"few {bad} orders")
    assert (report.event, rollout()) == ("tripped", 0)
    reason = f"rolled back: {ORDERS_FINE}: few \ufffd orders"
    assert plan_of().reason == flag_history(KEY)[0].reason == reason


@contextmanager
def rejecting(column: str) -> Iterator[None]:
    """Lets the database reject the reason, or the figures, of the trips of these tests."""
    table, name = column.split(".")
    # Only the figures of a trip have users.
    bad = "users_inside" if name == "figures" else "few orders"
    rows(
        f"ALTER TABLE flagstaff_rollouts_{table} ADD CONSTRAINT narrow "
        f"CHECK ({name}::text NOT LIKE '%%{bad}%%') NOT VALID"
    )
    try:
        yield
    finally:
        rows(f"ALTER TABLE flagstaff_rollouts_{table} DROP CONSTRAINT narrow")


@pytest.mark.parametrize(
    "column", ["plan.trip_reason", "plan.reason", "planevent.message", "planevent.figures"]
)
def test_trip_whose_reason_the_database_rejects_rolls_back_without_it(
    monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    with rejecting(column):
        [report] = trip(monkeypatch)
    assert (report.error, report.event, rollout()) == (None, "tripped", 0)
    constant = "rolled back: a guard whose reason cannot be stored"
    assert plan_of().reason == flag_history(KEY)[0].reason == constant
    assert events()[-2:] == ["tripped", "propagated"]
    assert run_plans() == []


@pytest.mark.usefixtures("stored")
def test_stored_trip_of_a_changed_flag_pauses_the_plan_without_a_rejected_reason() -> None:
    changes.flags.set_rollout(KEY, 60)
    with rejecting("planevent.message"):
        [report] = run_plans()
    assert (report.error, report.state, rollout()) == (None, "paused", 60)
    assert run_plans() == []


@pytest.mark.usefixtures("stored")
def test_stored_trip_is_shown_and_carried_out_by_a_later_run() -> None:
    record = plan_record(plan_of())
    assert record["reason"].endswith(f"will roll it back: {ORDERS_FINE}: few orders")
    assert record["needs_attention"] is True
    [report] = run_plans()
    assert (report.event, report.state, rollout()) == ("tripped", "rolled_back", 0)
    tripped, reason = PlanEvent.objects.get(kind="tripped"), f"{ORDERS_FINE}: few orders"
    assert (tripped.message, tripped.actor) == (f"rolled back: {reason}", "rollout plan")
    assert "users_inside" in tripped.figures
    assert (plan_of().trip_run_id, run_plans()) == (None, [])
    version = version_of(Kind.FLAG, plan_of().flag_pk)
    figures = {**plan_of().trip_figures, "flag_version": version}
    assert (plan_of().trip_reason, figures) == (reason, tripped.figures)


@pytest.mark.usefixtures("stored")
def test_four_drivers_carry_out_a_stored_trip_once() -> None:
    reports = [report for run in in_threads(*[run_plans] * 4) for report in run]
    assert [(report.event, report.error) for report in reports] == [("tripped", None)]
    assert (rollout(), events().count("tripped")) == (0, 1)


@pytest.mark.usefixtures("stored")
def test_stored_trip_ends_if_a_person_resumes_the_plan() -> None:
    rollouts.pause(KEY)
    rollouts.resume(KEY)
    expected = rollout()
    run_plans()
    assert (plan_of().state, rollout()) == (State.RUNNING, expected)
    assert (expected > 0, plan_of().trip_run_id) == (True, None)


@pytest.mark.usefixtures("stored")
def test_page_that_was_opened_before_a_trip_is_out_of_date() -> None:
    before = Plan(pk=plan_of().pk, state=State.RUNNING, step=0, run_id=plan_of().run_id)
    assert plan_of().version != before.version


@pytest.mark.usefixtures("stored")
def test_stored_trip_of_a_paused_plan_is_carried_out() -> None:
    with acting_as("ana", reason="lunch"):
        rollouts.pause(KEY)
    assert plan_of().reason.startswith("lunch; run-jobs will roll it back: ")
    [report] = run_plans()
    assert (report.state, rollout()) == ("rolled_back", 0)


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("is_paused", [False, True])
def test_stored_trip_of_a_changed_flag_pauses_the_plan_with_its_reason(*, is_paused: bool) -> None:
    if is_paused:
        rollouts.pause(KEY)
    with acting_as("ana"):
        changes.flags.set_rollout(KEY, 60)
    [report] = run_plans()
    assert (report.state, rollout()) == ("paused", 60)
    assert report.text == (
        "the flag was changed outside of the plan, as its history shows; so it was "
        f"not rolled back, although harm was found: {ORDERS_FINE}: few orders"
    )
    assert (run_plans(), plan_of().reason) == ([], report.text)


@pytest.mark.usefixtures("stored")
def test_stored_trip_survives_other_changes_broken_steps_and_a_rollback_by_a_person() -> None:
    changes.flags.update(KEY, {"description": "the new checkout"})
    Plan.objects.update(steps=5)
    with rolled_back():
        rollouts.rollback(KEY)
        assert plan_of().trip_run_id is None
    [report] = run_plans()
    assert (report.event, rollout()) == ("tripped", 0)


@pytest.mark.usefixtures("stored")
def test_stored_trip_of_a_locked_flag_stays_until_the_lock_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "flagstaff.rollouts.driver._LOCK_TIMEOUT", "SET LOCAL lock_timeout = '50ms'"
    )
    with transaction.atomic():
        FeatureFlag.objects.select_for_update().get()
        [reports] = in_threads(run_plans)
    assert [report.error for report in reports] == ["OperationalError"]
    [report] = run_plans()
    assert (report.event, rollout()) == ("tripped", 0)


def test_trip_of_a_guard_waits_for_a_plan_that_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    [report] = run_during(
        lambda: Plan.objects.select_for_update().get(), lambda: trip(monkeypatch, False)
    )
    assert (report.event, rollout()) == ("tripped", 0)


def test_trip_disables_a_flag_whose_history_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    FeatureFlag.objects.update(rules=RULES)
    rollouts.pause(KEY)
    rollouts.resume(KEY)
    monkeypatch.setattr("flagstaff.rollouts.transitions.version_of", lambda kind, pk: None)
    [report] = trip(monkeypatch)
    flag = FeatureFlag.objects.get()
    assert (report.event, flag.enabled, flag.rollout_percent) == ("tripped", False, 0)
    assert ACTOR in {event.actor for event in flag_history(KEY)}
