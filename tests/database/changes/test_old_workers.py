"""Rules are refused while a connected worker runs a version that cannot read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from flagstaff import changes, serialization
from flagstaff.changes import Changed
from flagstaff.changes.old_workers import old_worker_problem, required_format
from flagstaff.exceptions import InvalidChangeError
from flagstaff.models import FeatureFlag, Segment
from tests.support.admin_pages import FLAGS, errors, form_data
from tests.support.fake_workers import Join, join, other_token_table
from tests.support.terminals import flags

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cli_shop")]

__all__ = ["join", "other_token_table"]

FLAG = "new_checkout"
PAYING = [{"attribute": "plan", "operator": "in", "values": ["paid"]}]
RULES = [{"conditions": PAYING}]
REFUSED = (
    "connected workers cannot read format 1 of rules: web-1 (pid 7); deploy this version to them "
    "first, or force the change: --force in a terminal, force=True in Python"
)


@pytest.fixture
def old_worker(join: Join) -> None:
    join("web-1", 7, rule_format=None)
    join("web-2", 8)


def rules_of(key: str) -> Any:
    return FeatureFlag.objects.get(key=key).rules


def versions_of(key: str) -> list[int]:
    """The versions of a flag, oldest first."""
    found = json.loads(flags("history", key, "--json").out)
    return sorted(entry["version"] for entry in found)


def test_rules_need_the_first_format_unless_they_are_empty() -> None:
    assert [required_format(rules) for rules in (None, [], "", RULES)] == [0, 0, 0, 1]


@pytest.mark.usefixtures("old_worker")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        (partial(changes.update, FLAG, {"rules": RULES}), "rules"),
        (partial(changes.create, "new", rules=RULES), "rules"),
        (partial(changes.create_segment, "paying", PAYING), "conditions"),
    ],
    ids=["update", "create", "create_segment"],
)
def test_rules_are_refused_while_an_old_worker_is_connected_unless_forced(
    change: Callable[..., Changed], field: str
) -> None:
    with pytest.raises(InvalidChangeError) as error:
        change()
    assert str(error.value) == f"{field}: {REFUSED}"
    assert rules_of(FLAG) == []
    assert not FeatureFlag.objects.filter(key="new").exists()
    assert not Segment.objects.filter(key="paying").exists()
    assert change(force=True).written


def test_past_rules_are_refused_unless_forced(join: Join) -> None:
    changes.create("beta", rules=RULES)
    changes.update("beta", {"rules": []})
    created, _emptied = versions_of("beta")
    join("web-1", 7, rule_format=None)
    past: list[Callable[..., object]] = [
        lambda **named: changes.restore("beta", to=created, **named),
        lambda **named: changes.undo("beta", **named),
        lambda **named: changes.undo_transaction(versions_of("beta")[-1], **named),
    ]
    for change in past:
        with pytest.raises(InvalidChangeError, match="cannot read format 1"):
            change()
        change(force=True)
        assert rules_of("beta") == RULES
        changes.update("beta", {"rules": []})


def test_past_conditions_are_refused_unless_forced(join: Join) -> None:
    changes.create_segment("paying", PAYING)
    changes.delete_segment("paying")
    join("web-1", 7, rule_format=None)
    with pytest.raises(InvalidChangeError, match="conditions: connected workers"):
        changes.undo_segment("paying")
    assert changes.undo_segment("paying", force=True).written
    version = changes.update_segment("paying", {"description": "all"}).version or 0
    changes.update_segment("paying", {"conditions": PAYING * 2}, force=True)
    with pytest.raises(InvalidChangeError, match="conditions: connected workers"):
        changes.restore_segment("paying", to=version)
    assert changes.restore_segment("paying", to=version, force=True).written


@pytest.mark.usefixtures("old_worker")
def test_import_of_rules_is_refused_unless_forced() -> None:
    text = json.dumps({"flagstaff": 1, "flags": {FLAG: {"rules": RULES}, "a": {"rules": RULES}}})
    document = serialization.read(text)
    with pytest.raises(InvalidChangeError, match="cannot read format 1"):
        serialization.apply(document)
    serialization.apply(document, force=True)
    assert rules_of(FLAG) == rules_of("a") == RULES


def test_changes_without_new_rules_are_never_refused(join: Join) -> None:
    changes.update(FLAG, {"rules": RULES})
    changes.create_segment("paying", PAYING)
    join("web-1", 7, rule_format=None)
    # The same rules are no change.
    assert changes.update(FLAG, {"enabled": False, "rules": RULES}).written
    assert changes.enable(FLAG).written
    assert changes.disable(FLAG).written
    assert changes.set_rollout(FLAG, 7).written
    assert changes.update_segment("paying", {"description": "who pay"}).written
    assert changes.update(FLAG, {"rules": []}).written
    assert changes.create("new", rules=[]).written


def test_workers_of_unknown_or_newer_format_and_other_databases_do_not_refuse_rules(
    join: Join, other_token_table: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    join().set_name("flagstaff")  # behind a pooler
    join().set_name("fs2 what is this")
    join(table=other_token_table, rule_format=None)
    join(rule_format=2)
    assert changes.update(FLAG, {"rules": RULES}).written
    join("web-1", 7, rule_format=None)
    monkeypatch.setattr(connection, "vendor", "sqlite")
    assert old_worker_problem([RULES]) is None


@pytest.mark.usefixtures("old_worker")
def test_commands_write_rules_only_with_force(tmp_path: Path) -> None:
    rules, conditions = tmp_path / "rules.json", tmp_path / "conditions.json"
    rules.write_text(json.dumps(RULES))
    conditions.write_text(json.dumps(PAYING))
    create = ("segment", "create", "paying", str(conditions))
    for command in (("set-rules", FLAG, str(rules)), create):
        refused = flags(*command)
        assert refused.status == 4
        assert REFUSED in refused.err
        assert flags(*command, "--force").status == 0
    assert flags("undo", FLAG).status == 0
    assert flags("undo", FLAG).status == 4
    assert flags("undo", FLAG, "--force").status == 0
    assert rules_of(FLAG) == RULES


@pytest.mark.usefixtures("old_worker")
def test_admin_shows_an_error_at_the_rules(admin_client: Client) -> None:
    page = f"{FLAGS}{FeatureFlag.objects.get(key=FLAG).pk}/change/"
    data = {**form_data(admin_client.get(page)), "rules": json.dumps(RULES)}
    assert errors(admin_client, page, data) == {"rules": [REFUSED]}
    assert rules_of(FLAG) == []
    # Without new rules, there is nothing to refuse.
    assert admin_client.post(page, {**data, "rules": "", "description": "x"}).status_code == 302
