"""`manage.py flags … --wait`: arguments, output and exit status."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection, transaction

from flagstaff._engine import direct
from flagstaff._workers.wait import Propagation
from flagstaff.cli import wait
from flagstaff.exceptions import PropagationError
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.fake_workers import registered_worker as worker
from tests.support.pages import code_of
from tests.support.terminals import Ran, flags, typed

ALL = Propagation(complete=True, applied=4, seconds=0.04, applied_after=0.034)


@pytest.fixture(autouse=True)
def flag(db: None) -> FeatureFlag:
    KeyValueStore.objects.create(key="gateway", value="stripe")
    return FeatureFlag.objects.create(key="new_checkout", enabled=True)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls of `wait_for_workers`, which returns ALL."""
    return replace_wait(monkeypatch, ALL)


def replace_wait(monkeypatch: pytest.MonkeyPatch, outcome: Propagation | Exception) -> list[Any]:
    """Replaces `wait_for_workers` by a function that returns or raises `outcome`."""
    calls: list[Any] = []

    def wait_for_workers(timeout: float | None, *, expect: int | None) -> Propagation:
        calls.append((timeout, expect))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(wait, "wait_for_workers", wait_for_workers)
    return calls


def run_off(monkeypatch: pytest.MonkeyPatch, *arguments: str, **found: Any) -> Ran:
    replace_wait(monkeypatch, Propagation(**{"complete": False, **found}))
    return flags("off", "new_checkout", *(arguments or ["--wait"]))


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("off new_checkout --wait", (None, None)),
        ("off new_checkout --wait 0.5", (0.5, None)),
        ("off --wait=30 new_checkout --expect=12", (30.0, 12)),
        ("off --wait 30 new_checkout", (30.0, None)),
        ("off new_checkout --expect 0", (None, 0)),
        ("on new_checkout --wait 2", (2.0, None)),
        ("rollout new_checkout 25 --wait", (None, None)),
        ("value set gateway 5 --wait --expect 2", (None, 2)),
        ("kill new_checkout --wait 30", (30.0, None)),
        ("kill new_checkout --expect 3", (None, 3)),
        ("kill new_checkout", (None, None)),
        ("off new_checkout", None),
        ("kill new_checkout --no-wait", None),
    ],
)
def test_wait_passes_timeouts_and_expected_workers(
    line: str, call: tuple[float | None, int | None] | None, calls: list[Any]
) -> None:
    assert flags(*line.split()).status == 0
    assert calls == ([call] if call else [])


@pytest.mark.django_db(transaction=True)
def test_kill_in_a_transaction_does_not_wait_and_wait_is_refused(calls: list[Any]) -> None:
    with transaction.atomic():
        refused, ran = flags("off", "new_checkout", "--wait"), flags("kill", "new_checkout")
    assert (refused.status, ran.status, calls) == (1, 0, [])
    assert refused.err.startswith("CommandError: a transaction is open")
    assert ran.err.startswith("new_checkout: turned off\n")
    assert ran.err.endswith("not waiting for the workers: they see the change after the commit\n")
    assert FeatureFlag.objects.get().enabled is False


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("off --wait new_checkout", "'new_checkout'; write KEY before --wait, or write --wait=5"),
        ("off new_checkout --wait -1", "expected a number of seconds from 0 to 3600, not '-1'"),
        ("off new_checkout --wait nan", "expected a number of seconds from 0 to 3600, not 'nan'"),
        ("off new_checkout --expect two", "expected a whole number of at least 0, not 'two'"),
        ("kill new_checkout --no-wait --expect 3", "--no-wait cannot be combined with --expect"),
    ],
)
def test_invalid_wait_arguments_change_nothing(line: str, message: str, calls: list[Any]) -> None:
    ran = flags(*line.split())
    assert ran.status != 0
    assert message in ran.err
    assert calls == []
    assert FeatureFlag.objects.get().enabled is True


def test_propagation_is_printed_after_a_no_op(calls: list[Any]) -> None:
    FeatureFlag.objects.update(enabled=False)
    ran = flags("off", "new_checkout", "--wait")
    last = "Applied by 4 of 4 workers after 0.03 s."
    assert (ran.status, ran.err.splitlines()[-1]) == (0, last)


def test_documentation_shows_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    some = Propagation(
        complete=False,
        applied=7,
        pending=(worker("web-3", 4711), worker("web-4", 4712)),
        unreported=1,
        lost=(worker("web-5", 4713),),
        missing=3,
        seconds=10.004,
        applied_after=0.048,
    )
    for shown, outcome in zip(
        code_of("how-to/propagation.md", "console"), (ALL, some), strict=True
    ):
        FeatureFlag.objects.update(enabled=True)
        replace_wait(monkeypatch, outcome)
        line, _, after = shown.partition("\n")
        assert typed(line.removeprefix("$ python manage.py ")) == after


UNKNOWN = "but it is not known which workers have it: "


@pytest.mark.parametrize(
    ("found", "status", "problem"),
    [
        ({"pending": (worker("web-5", 7),), "unreported": 1}, 3, "but no worker has confirmed it"),
        ({"applied": 7, "missing": 1}, 3, "but not every worker has confirmed it"),
        ({"applied": 7, "unreported": 1}, 7, f"{UNKNOWN}some do not report"),
        ({}, 7, f"{UNKNOWN}none is registered"),
    ],
)
def test_known_workers_that_are_late_and_unknown_ones_have_a_status_each(
    found: dict[str, Any], status: int, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = run_off(monkeypatch, **found)
    assert (ran.status, ran.out) == (status, "")
    assert f"CommandError: the change is committed, {problem}" in ran.err


@pytest.mark.parametrize(
    ("applied", "pending", "sentence"),
    [
        (0, 0, "No worker is registered."),
        (0, 3, "Applied by 0 of 3 workers within 5.0 s."),
        (
            0,
            100,
            "Not applied yet: " + "web-3 (pid 4711), " * 19 + "web-3 (pid 4711) and 80 more.",
        ),
        (2, 0, "Applied by 2 of 2 workers after 0.03 s; the wait ended after 5.0 s."),
    ],
)
def test_number_of_workers_is_printed(
    applied: int, pending: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"pending": (worker("web-3", 4711),) * pending, "seconds": 5.0}
    after = 0.03 if applied else None
    ran = run_off(monkeypatch, applied=applied, applied_after=after, **found)
    assert sentence in ran.err.splitlines()


def test_json_has_the_propagation(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"applied": 1, "pending": (worker("web-3", 4711),), "seconds": 5.0}
    ran = run_off(monkeypatch, "--wait", "--json", applied_after=0.03, **found)
    document = json.loads(ran.out)
    assert (ran.status, document["changed"]) == (3, True)
    propagation = document["propagation"]
    assert (propagation["complete"], propagation["applied"]) == (False, 1)
    assert propagation["pending"][0]["pid"] == 4711
    assert (propagation["seconds"], propagation["applied_after"]) == (5.0, 0.03)


def test_unconfirmed_no_op_is_not_called_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    FeatureFlag.objects.update(enabled=False)
    ran = run_off(monkeypatch, "--wait", "--expect", "9", applied=4, missing=5)
    assert ran.status == 3
    assert ran.err.endswith(
        "CommandError: nothing had to be changed, but not every worker has confirmed "
        'the present state; "manage.py flags workers" shows which are behind\n'
    )


@pytest.mark.parametrize("line", ["off new_checkout --wait", "kill new_checkout"])
def test_failed_wait_keeps_the_change_and_says_why(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "the role web has no right to wait for workers"
    replace_wait(monkeypatch, PropagationError(why))
    ran = flags(*line.split(), "--json")
    assert ran.status == 7
    assert ran.err.endswith(f"CommandError: the change is committed, but the wait failed: {why}\n")
    assert json.loads(ran.out)["propagation"] == {"complete": False, "error": why}
    assert FeatureFlag.objects.get().enabled is False


@pytest.mark.django_db(transaction=True)
def test_wait_without_workers_is_not_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "is_required", lambda: False)
    ran = flags("off", "new_checkout", "--wait")
    assert ran.status == 7
    assert ran.err.splitlines()[-2] == "No worker is registered."
    assert flags("off", "new_checkout", "--expect", "0").status == 0
    connection.close()
