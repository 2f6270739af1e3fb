"""`manage.py flags segment` and `rules`."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.db.models import JSONField, Value

from flagstaff import changes
from flagstaff.models import Change, FeatureFlag, Segment
from tests.support.terminals import document, run, typed

pytestmark = pytest.mark.django_db

PAYING = [{"attribute": "plan", "operator": "in", "values": ["paid"]}]
RULES = [{"conditions": [{"segment": "enterprise"}], "rollout_percent": 50}]
LARGE = [{"attribute": "seats", "operator": "gte", "values": [100]}]


@pytest.fixture(autouse=True)
def no_history() -> None:
    """Deletes the entries of other tests."""
    Change.objects.all().delete()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "list.json"
    path.write_text(json.dumps(PAYING))
    return path


@pytest.fixture
def flag() -> FeatureFlag:
    """A flag whose rules name the segment "enterprise"."""
    changes.segments.create("enterprise", PAYING)
    changes.flags.create("new_checkout", rules=RULES)
    return FeatureFlag.objects.get()


@pytest.mark.usefixtures("flag")
def test_segment_create_prints_the_command_that_undoes_it(file: Path) -> None:
    ran = run(f"segment create Enterprise {file} --description Customers")
    assert "undo: python manage.py flags segment delete Enterprise --yes\n" in ran.err
    assert "only in case" in ran.err
    segment = Segment.objects.get(key="Enterprise")
    assert (segment.conditions, segment.description) == (PAYING, "Customers")


@pytest.mark.parametrize(
    ("verb", "key", "new"),
    [
        ("rules new_checkout", "new_checkout", [{"conditions": PAYING}]),
        ("segment conditions enterprise", "enterprise", LARGE),
    ],
)
@pytest.mark.usefixtures("flag")
def test_verb_that_writes_accepts_actor_reason_and_version(
    file: Path, verb: str, key: str, new: object
) -> None:
    file.write_text(json.dumps(new))
    assert run(f"{verb} {file} --expect-version 0").status == 4
    ran = run(f'{verb} {file} --as-name deploy --reason "ticket 7"')
    assert ran.status == 0, ran.err
    entry = Change.objects.filter(key=key).latest("id")
    assert (entry.actor, entry.source, entry.reason) == ("deploy", "command", "ticket 7")
    assert new in entry.new.values()


@pytest.mark.usefixtures("flag")
def test_segment_conditions_reads_the_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO(json.dumps(LARGE)))
    assert run("segment conditions enterprise -").status == 0
    assert Segment.objects.get().conditions == LARGE


@pytest.mark.usefixtures("flag")
def test_segment_list_and_show_have_the_conditions_and_the_flags_that_use_it() -> None:
    [record] = document("segment", "list")
    assert (record["key"], record["conditions"]) == ("enterprise", PAYING)
    assert document("segment", "show", "enterprise")["flags"] == ["new_checkout"]
    message = "CommandError: there is no segment 'enterprize'; did you mean 'enterprise'?\n"
    assert run("segment show enterprize") == (5, "", message)
    assert {event["kind"] for event in document("history")} == {"flag", "segment"}
    ran = run("segment delete enterprise --yes")
    assert ran.status == 4
    assert "is used by the rules of 'new_checkout'" in ran.err
    # Conditions that are no list are marked.
    Segment.objects.update(conditions=Value(None, JSONField()))
    assert "unreadable" in typed("flags segment list")


def test_undo_and_restore_of_a_segment_need_the_option() -> None:
    changes.segments.create("enterprise", PAYING)
    [creation] = document("history", "enterprise", "--segment")
    assert creation["kind"] == "segment"
    assert run("segment undo enterprise").status == 0
    assert run("segment list").err == "no segments\n"
    assert run(f"segment restore enterprise {creation['version']}").status == 0
    assert Segment.objects.get().conditions == PAYING


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "not valid JSON"),
        ("\xff", "list.json is not UTF-8 text"),
        ('[{"name": "a", "name": "b"}]', "twice"),
        ("{}", "rules: the rules must be a list, not an object"),
        ('[{"conditions": [{"attribute": "a"}]}]', "rules: rule 1, condition 1: the member"),
        ('[{"conditions": [{"segment": "gone"}]}]', "does not exist"),
    ],
)
def test_rules_refuses_a_file_with_a_mistake(
    text: str, message: str, flag: FeatureFlag, file: Path
) -> None:
    file.write_text(text, encoding="latin-1")
    ran = run(f"rules new_checkout {file}")
    assert message in ran.err
    assert ran.status in {2, 4}
    assert FeatureFlag.objects.get().rules == RULES
