"""Each action does the same in a terminal, called from Python, and by `flagstaff.changes`."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from django.apps import apps
from django.db import transaction

from flagstaff import acting_as, changes
from flagstaff.actions import Kind, all_actions
from flagstaff.changes import Changed
from flagstaff.exceptions import ConflictError, FlagstaffError
from flagstaff.history import flag_version
from flagstaff.history.log import newest_version
from flagstaff.management.commands.flags import Command
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.conftest import ROOT
from tests.support.terminals import asked, run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cli_shop", "plain_terminal")]

STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
RULES = [{"conditions": [STAFF]}]
VALUE_RULES = [{"conditions": [STAFF], "value": 50}]
FLAG, VALUE, SEGMENT = Kind.FLAG, Kind.VALUE, Kind.SEGMENT


class Sample(NamedTuple):
    """A call of an action. {file} in the words is a file with `content`."""

    kind: Kind
    name: str
    key: str
    words: str
    arguments: dict[str, Any]
    change: Callable[[], Changed]
    #: Words that are refused, if any are.
    bad: str = ""
    content: Any = None


SAMPLES = [
    Sample(FLAG, "kill", "new_checkout", "", {}, lambda: changes.flags.disable("new_checkout")),
    Sample(
        FLAG,
        *("on", "summer_banner", "--percent 5", {"percent": 5}),
        lambda: changes.flags.update("summer_banner", {"enabled": True, "rollout_percent": 5}),
        "--percent 101",
    ),
    Sample(FLAG, "off", "new_checkout", "", {}, lambda: changes.flags.disable("new_checkout")),
    Sample(
        FLAG,
        *("rollout", "new_checkout", "50", {"percent": 50}),
        lambda: changes.flags.set_rollout("new_checkout", 50),
        "half",
    ),
    Sample(
        FLAG,
        *("release", "new_checkout", "", {}),
        lambda: changes.flags.release("new_checkout"),
    ),
    Sample(
        FLAG,
        *("rules", "search_v2", "{file} --rollout 5", {"rules": RULES, "rollout": 5}),
        lambda: changes.flags.update("search_v2", {"rules": RULES, "rollout_percent": 5}),
        "[{}]",
        RULES,
    ),
    Sample(
        FLAG,
        *("unit", "new_checkout", "visitor", {"bucket_by": "visitor"}),
        lambda: changes.flags.update("new_checkout", {"bucket_by": "visitor"}),
        "is_staff",
    ),
    Sample(
        FLAG,
        *("allow", "new_checkout", "bob", {"users": [2]}),
        lambda: changes.flags.allow("new_checkout", 2),
        "carol",
    ),
    Sample(
        FLAG,
        *("disallow", "new_checkout", "alice", {"users": [1]}),
        lambda: changes.flags.disallow("new_checkout", 1),
        "carol",
    ),
    Sample(
        FLAG,
        *(
            "details",
            "new_checkout",
            "--owner payments --tag a",
            {"owner": "payments", "tags": ["a"]},
        ),
        lambda: changes.flags.update("new_checkout", {"owner": "payments", "tags": ["a"]}),
        "--kind odd",
    ),
    Sample(
        FLAG,
        *("create", "new_search", "--kind ops --client-side", {"kind": "ops", "client_side": True}),
        lambda: changes.flags.create("new_search", kind="ops", client_side=True),
        "--kind odd",
    ),
    Sample(
        FLAG, "delete", "new_checkout", "--yes", {}, lambda: changes.flags.delete("new_checkout")
    ),
    Sample(
        VALUE,
        *("set", "page_size", "50", {"value": 50}),
        lambda: changes.values.set("page_size", 50),
        "fifty",
    ),
    Sample(
        VALUE,
        *("set-for-everyone", "page_size", "50", {"value": 50}),
        lambda: changes.values.set("page_size", 50, everyone=True),
        "fifty",
    ),
    Sample(
        VALUE,
        *("rules", "page_size", "{file} --bucket-by visitor"),
        {"rules": VALUE_RULES, "bucket_by": "visitor"},
        lambda: changes.values.update("page_size", {"rules": VALUE_RULES, "bucket_by": "visitor"}),
        "[{}]",
        VALUE_RULES,
    ),
    Sample(
        VALUE,
        *("details", "page_size", "--type integer --value 5", {"type": "integer", "value": 5}),
        lambda: changes.values.update("page_size", {"value": 5, "type": "integer"}),
        "--type string",
    ),
    Sample(
        VALUE,
        *("create", "limit", "7 --choices [7,8]", {"value": 7, "choices": [7, 8]}),
        lambda: changes.values.create("limit", 7, choices=[7, 8]),
        "7 --choices [8]",
    ),
    Sample(VALUE, "delete", "page_size", "--yes", {}, lambda: changes.values.delete("page_size")),
    Sample(
        SEGMENT,
        *("conditions", "enterprise", "{file}", {"conditions": [STAFF]}),
        lambda: changes.segments.update("enterprise", {"conditions": [STAFF]}),
        "[]",
        [STAFF],
    ),
    Sample(
        SEGMENT,
        *("details", "enterprise", "All", {"description": "All"}),
        lambda: changes.segments.update("enterprise", {"description": "All"}),
    ),
    Sample(
        SEGMENT,
        *("create", "staff", "{file}", {"conditions": [STAFF]}),
        lambda: changes.segments.create("staff", [STAFF]),
        "[]",
        [STAFF],
    ),
    Sample(
        SEGMENT,
        *("delete", "enterprise", "--yes", {}),
        lambda: changes.segments.delete("enterprise"),
    ),
]
ACTIONS = {(one.kind, one.name): one for kind in Kind for one in all_actions(kind)}
each_sample = pytest.mark.parametrize(
    "sample", SAMPLES, ids=[f"{one.kind.value}-{one.name}" for one in SAMPLES]
)


def line_of(sample: Sample, words: str, tmp_path: Path) -> str:
    file = tmp_path / "given.json"
    file.write_text(json.dumps(sample.content))
    group = "" if sample.kind is FLAG else f"{sample.kind.value} "
    return f"{group}{sample.name} {sample.key} {words.replace('{file}', str(file))}"


def result_of(write: Callable[[], object]) -> list[Any]:
    """What a write leaves in the tables and in the history; it is rolled back."""
    with transaction.atomic():
        before = newest_entry()
        with acting_as("ana", reason="test"):
            write()
        models = (FeatureFlag, FeatureFlag.allowed_users.through, KeyValueStore, Segment)
        times = {"id", "created_at", "changed_at"}
        found: list[Any] = [
            {name: value for name, value in row.items() if name not in times}
            for model in models
            for row in model._base_manager.order_by("pk").values()
        ]
        entries = Change.objects.filter(id__gt=before).order_by("id")
        found += entries.values_list("relation", "action", "key", "actor", "reason")
        transaction.set_rollback(True)
    return found


def newest_entry() -> int:
    return Change.objects.order_by("-id").values_list("id", flat=True).first() or 0


def test_every_action_has_a_sample() -> None:
    assert {(one.kind, one.name) for one in SAMPLES} == set(ACTIONS)


@each_sample
def test_action_writes_the_same_wherever_it_is_called(sample: Sample, tmp_path: Path) -> None:
    line = f"{line_of(sample, sample.words, tmp_path)} --as-name ana --reason test"
    untouched = result_of(lambda: None)
    by_changes = result_of(sample.change)
    assert by_changes != untouched
    assert (
        result_of(lambda: ACTIONS[sample.kind, sample.name].write(sample.key, **sample.arguments))
        == by_changes
    )
    assert result_of(lambda: run(line)) == by_changes


@each_sample
def test_action_is_refused_for_a_missing_row_or_another_version(
    sample: Sample, tmp_path: Path
) -> None:
    action = ACTIONS[sample.kind, sample.name]
    if action.creates:
        assert not action.takes_version
        return
    line = line_of(sample, sample.words, tmp_path)
    assert run(line.replace(sample.key, "gone", 1)).status == 5
    with pytest.raises(FlagstaffError, match="there is no"), transaction.atomic():
        action.write("gone", **sample.arguments)
    version = newest_version(sample.kind, sample.kind.row(sample.key).pk)
    assert version
    assert run(f"{line} --expect-version {version + 1}").status == 4
    with pytest.raises(ConflictError), transaction.atomic():
        action.write(sample.key, **sample.arguments, expect_version=version + 1)
    assert run(f"{line} --expect-version {version} --dry-run").status == 0


@each_sample
def test_action_refuses_bad_input_and_writes_nothing(sample: Sample, tmp_path: Path) -> None:
    line = line_of(sample, sample.bad or "--no-such-option", tmp_path)
    before = result_of(lambda: None)
    ran: list[int] = []
    assert result_of(lambda: ran.append(run(line).status)) == before
    assert ran[0] in {1, 2, 4}


@pytest.mark.parametrize("line", ["kill new_checkout", "off new_checkout", "rollout dark_mode 0"])
def test_brake_is_never_asked_about_and_counts_nobody(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("flagstaff.cli.support.consequence.impact_of_changes")
    assert asked(line).status in {0, 3, 7}


def test_several_keys_are_changed_together_or_not_at_all() -> None:
    assert run("details new_checkout dark_mode --owner payments").status == 0
    assert FeatureFlag.objects.filter(owner="payments").count() == 2
    refused = run("details new_checkout gone_1 gone_2 --owner search")
    assert refused.status == 5
    assert "gone_1" in refused.err
    assert "gone_2" in refused.err
    assert not FeatureFlag.objects.filter(owner="search").exists()


def test_examples_of_every_action_are_read() -> None:
    parser = Command().create_parser("manage.py", "flags")
    for action in ACTIONS.values():
        assert action.examples
        for line in action.examples:
            words = shlex.split(line.partition(" <")[0])
            assert parser.parse_args(words).verb == words[0]


def test_action_of_the_documentation_is_a_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "reference" / "api" / "actions.md").read_text()
    code, *_ = re.findall(r"^```python.*?\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 15
    module = ModuleType("shop_actions")
    monkeypatch.setitem(sys.modules, "shop_actions", module)
    exec(compile(code, "shop_actions", "exec"), vars(module))
    config = apps.get_app_config("flagstaff")
    hooks = {"actions": "shop_actions.ACTIONS"}
    monkeypatch.setattr(config, "flagstaff_hooks", hooks, raising=False)
    [(line, shown)] = re.findall(
        r"^\$ python manage.py flags (.*)\n((?:.*\n)*?)```$", page, re.MULTILINE
    )
    ran = run(line)
    version = flag_version("new_checkout")
    assert (ran.status, ran.err) == (0, shown.replace("17", str(version)))
    assert "hand-over" in run("").out
