"""`--wait` and `--expect`: what is waited for, the output and the exit status."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from flagstaff._engine import direct
from flagstaff._workers import wait
from flagstaff._workers.wait import Propagation
from flagstaff.exceptions import PropagationError
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.fake_workers import registered_worker as worker
from tests.support.pages import code_of
from tests.support.terminals import flags, run, typed

#: Seconds by default.
DEFAULT = 6.5
ALL = Propagation(complete=True, applied=4, seconds=0.04, applied_after=0.034)
ReplaceWait = Callable[[Propagation | Exception], list[Any]]


@pytest.fixture(autouse=True)
def flag(db: None) -> FeatureFlag:
    KeyValueStore.objects.create(key="gateway", value="stripe")
    return FeatureFlag.objects.create(key="new_checkout", enabled=True)


@pytest.fixture
def replace_wait(monkeypatch: pytest.MonkeyPatch) -> ReplaceWait:
    """Replaces the wait for workers by an outcome, and returns the list of its calls."""

    def replace(outcome: Propagation | Exception) -> list[Any]:
        calls: list[Any] = []

        def waited(timeout: float, expect: int | None, *, asks_regions: bool) -> Propagation:
            assert asks_regions
            calls.append((timeout, expect))
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(direct, "is_required", lambda: False)
        monkeypatch.setattr(wait, "_wait", waited)
        return calls

    return replace


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("off new_checkout --wait", (DEFAULT, None)),
        ("off new_checkout --wait 0.5", (0.5, None)),
        ("off --wait=30 new_checkout --expect=12", (30.0, 12)),
        ("rollout new_checkout 25 --expect 0", (DEFAULT, 0)),
        ("value set gateway 5 --wait --expect 2", (DEFAULT, 2)),
        ("kill new_checkout --wait 30", (30.0, None)),
        ("kill new_checkout", (DEFAULT, None)),
        ("off new_checkout", None),
        ("off new_checkout --wait --dry-run", None),
        ("kill new_checkout --no-wait", None),
    ],
)
def test_wait_has_a_timeout_and_expected_workers(
    line: str, call: tuple[float, int | None] | None, replace_wait: ReplaceWait
) -> None:
    calls = replace_wait(ALL)
    assert run(line).status == 0
    assert calls == ([call] if call else [])


@pytest.mark.django_db(transaction=True)
def test_kill_in_a_transaction_does_not_wait_and_wait_is_refused(replace_wait: ReplaceWait) -> None:
    calls = replace_wait(ALL)
    with transaction.atomic():
        refused, ran = run("off new_checkout --wait"), run("kill new_checkout")
    assert (refused.status, ran.status, calls) == (1, 0, [])
    assert refused.err.startswith("CommandError: a transaction is open")
    assert ran.err.startswith("not waiting for the workers: they see the change after the commit\n")
    assert FeatureFlag.objects.get().enabled is False


def test_documentation_shows_the_output(replace_wait: ReplaceWait) -> None:
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
    examples = code_of("how-to/propagation.md", "console")
    for shown, outcome in zip(examples, (ALL, some), strict=True):
        FeatureFlag.objects.update(enabled=True)
        replace_wait(outcome)
        line, _, after = shown.partition("\n")
        printed = typed(line.removeprefix("$ python manage.py "))
        assert printed.replace(f" {flag_version('new_checkout')}\n", " 17\n") == after


WORKER = worker("web-3", 4711)
UNKNOWN = "the change is committed, but it is not known which workers have it: "


@pytest.mark.parametrize(
    ("fields", "status", "sentence", "problem"),
    [
        (
            {"pending": (WORKER,) * 3, "unreported": 1},
            3,
            "Applied by 0 of 3 workers within 5.0 s.",
            "the change is committed, but no worker has confirmed it",
        ),
        (
            {"pending": (WORKER,) * 100},
            3,
            f"Not applied yet: {'web-3 (pid 4711), ' * 19}web-3 (pid 4711) and 80 more.",
            "the change is committed, but no worker has confirmed it",
        ),
        (
            {"applied": 2, "applied_after": 0.03, "missing": 1},
            3,
            "Applied by 2 of 2 workers after 0.03 s; the wait ended after 5.0 s.",
            "the change is committed, but not every worker has confirmed it",
        ),
        (
            {"applied": 7, "applied_after": 0.03, "unreported": 1},
            7,
            "Connected workers that do not report: 1.",
            f"{UNKNOWN}some do not report",
        ),
        ({}, 7, "No worker is registered.", f"{UNKNOWN}none is registered"),
    ],
)
def test_late_workers_and_unknown_ones_have_a_status_each(
    fields: dict[str, Any], status: int, sentence: str, problem: str, replace_wait: ReplaceWait
) -> None:
    replace_wait(Propagation(**{"complete": False, "seconds": 5.0, **fields}))
    ran = run("off new_checkout --wait")
    assert (ran.status, ran.out) == (status, "")
    assert sentence in ran.err.splitlines()
    assert ran.err.splitlines()[-1].startswith(f"CommandError: {problem}")


def test_json_has_the_propagation(replace_wait: ReplaceWait) -> None:
    replace_wait(Propagation(complete=False, pending=(WORKER,), seconds=5.0))
    ran = run("off new_checkout --wait --json")
    printed = json.loads(ran.out)
    assert (ran.status, printed["changed"]) == (3, True)
    assert (printed["propagation"]["complete"], printed["propagation"]["seconds"]) == (False, 5.0)
    assert printed["propagation"]["pending"][0]["pid"] == 4711


def test_wait_for_a_change_that_was_made_before_confirms_the_present_state(
    replace_wait: ReplaceWait,
) -> None:
    FeatureFlag.objects.update(enabled=False)
    replace_wait(ALL)
    ran = run("off new_checkout --wait")
    last = "Applied by 4 of 4 workers after 0.03 s."
    assert (ran.status, ran.err.splitlines()[-1]) == (0, last)
    replace_wait(Propagation(complete=False, applied=4, missing=5, applied_after=0.03))
    ran = run("off new_checkout --expect 9")
    assert ran.status == 3
    assert ran.err.endswith(
        "CommandError: nothing had to be changed, but not every worker has confirmed "
        'the present state; "manage.py flags workers" shows which are behind\n'
    )


@pytest.mark.parametrize("line", ["off new_checkout --wait", "kill new_checkout"])
def test_failed_wait_keeps_the_change_and_says_why(line: str, replace_wait: ReplaceWait) -> None:
    why = "the role web has no right to wait for workers"
    replace_wait(PropagationError(why))
    ran = flags(*line.split(), "--json")
    assert ran.status == 7
    assert ran.err.endswith(f"CommandError: the change is committed, but the wait failed: {why}\n")
    assert json.loads(ran.out)["propagation"] == {"complete": False, "error": why}
    assert FeatureFlag.objects.get().enabled is False


@pytest.mark.django_db(transaction=True)
def test_wait_without_workers_is_not_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "is_required", lambda: False)
    ran = run("off new_checkout --wait 0")
    assert (ran.status, ran.err.splitlines()[-2]) == (7, "No worker is registered.")
    assert run("off new_checkout --expect 0").status == 0
    connection.close()
