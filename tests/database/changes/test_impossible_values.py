"""Values of conditions that never match are refused by all that writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from flagstaff import changes, experiments
from flagstaff.exceptions import DocumentError, FlagstaffError
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support.conditions import condition
from tests.support.documents import import_text
from tests.support.terminals import run

pytestmark = pytest.mark.django_db

WEEK = condition("date_joined", "lt", "7d", negate=True)
RULES = [{"conditions": [WEEK]}]
OF_VALUE = [{"conditions": [WEEK], "value": 2}]
REFUSED = 'value 1 never matches "date_joined": it is a date'


@pytest.fixture(autouse=True)
def _columns(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["date_joined"]}


@pytest.fixture
def rows() -> None:
    FeatureFlag.objects.create(key="flag")
    KeyValueStore.objects.create(key="value", value=1)
    Segment.objects.create(key="segment", conditions=[condition("plan", "in", "paid")])
    experiments.create("draft")


def by_import(key: str) -> None:
    import_text(json.dumps({"flagstaff": 1, "partial": True, "flags": {key: {"rules": RULES}}}))


def by_command() -> None:
    path = Path("rules.json")
    path.write_text(json.dumps(RULES), encoding="utf-8")
    call_command("flags", "rules", "flag", str(path), "--yes")


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda: changes.flags.create("new", rules=RULES), id="create"),
        pytest.param(lambda: changes.flags.update("flag", {"rules": RULES}), id="update"),
        pytest.param(lambda: changes.values.create("new", 1, rules=OF_VALUE), id="create a value"),
        pytest.param(lambda: changes.values.update("value", {"rules": OF_VALUE}), id="value"),
        pytest.param(lambda: changes.segments.create("new", [WEEK]), id="create a segment"),
        pytest.param(
            lambda: changes.segments.update("segment", {"conditions": [WEEK]}), id="segment"
        ),
        pytest.param(lambda: experiments.create("new", rules=RULES), id="create an experiment"),
        pytest.param(lambda: experiments.edit("draft", rules=RULES), id="experiment"),
        pytest.param(lambda: by_import("flag"), id="import"),
        pytest.param(lambda: by_import("new"), id="import a new flag"),
        pytest.param(by_command, id="terminal"),
    ],
)
def test_value_that_never_matches_is_refused_by_each_writer(
    write: Callable[[], object], rows: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((FlagstaffError, DocumentError, CommandError)) as raised:
        write()
    assert REFUSED in str(raised.value)


def test_stored_value_that_never_matches_stops_no_other_change(rows: None) -> None:
    FeatureFlag.objects.update(rules=RULES)
    new = [*RULES, {"conditions": [condition("country", "in", "DE")]}]
    assert changes.flags.update("flag", {"rules": new, "description": "new"}).written


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "undo",
    [changes.flags.undo, lambda key: changes.flags.restore(key, to=(flag_version(key) or 0) - 1)],
)
def test_past_value_that_never_matches_stops_no_undo(undo: Callable[[str], object]) -> None:
    FeatureFlag.objects.create(key="flag", rules=RULES)
    changes.flags.update("flag", {"rules": [], "enabled": True, "rollout_percent": 100})
    undo("flag")
    flag = FeatureFlag.objects.get()
    assert (flag.enabled, flag.rules) == (False, RULES)


DOUBT = 'value 1 never matches "now": if it is a number or a date, write one, such as 42 or'


@pytest.mark.parametrize(
    "command",
    ["rules new_checkout {}", "value rules page_size {}", "segment conditions enterprise {}"],
)
def test_terminal_says_that_a_new_value_may_never_match(command: str, tmp_path: Path) -> None:
    FeatureFlag.objects.create(key="new_checkout")
    KeyValueStore.objects.create(key="page_size", value=20)
    Segment.objects.create(key="enterprise", conditions=[condition("plan", "in", "pro")])
    conditions = [condition("now", "gte", "-7d")]
    rules: Any = [{"conditions": conditions, "rollout_percent": 5}]
    if command.startswith("value"):
        rules[0]["value"] = 50
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(conditions if command.startswith("segment") else rules))
    ran = run(f"{command.format(file)} --yes")
    assert (ran.status, DOUBT in ran.err) == (0, True)
    # What is stored already is no news.
    conditions.append(condition("plan", "in", "pro"))
    file.write_text(json.dumps(conditions if command.startswith("segment") else rules))
    ran = run(f"{command.format(file)} --yes")
    assert (ran.status, DOUBT in ran.err) == (0, False)
