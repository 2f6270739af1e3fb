"""`manage.py flags segment` and `set-rules`."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import Model, TextField

from flagstaff import changes
from flagstaff.conf import Conf
from flagstaff.models import Change, FeatureFlag, Segment
from tests.support.models_of_others import flag_fields, model_of
from tests.support.terminals import document, flags, run, typed

pytestmark = pytest.mark.django_db

PAYING = [{"attribute": "plan", "operator": "in", "values": ["paid"]}]
RULES = [{"conditions": [{"segment": "enterprise"}], "rollout_percent": 50}]


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
def enterprise() -> Segment:
    changes.create_segment("enterprise", PAYING)
    return Segment.objects.get()


@pytest.fixture
def flag(enterprise: Segment) -> FeatureFlag:
    changes.create("new_checkout", rules=RULES)
    return FeatureFlag.objects.get()


def test_segment_create_prints_the_command_that_undoes_it(file: Path) -> None:
    ran = run(f"segment create enterprise {file} --description Customers")
    assert "undo: manage.py flags segment delete enterprise --yes\n" in ran.err
    segment = Segment.objects.get()
    assert (segment.conditions, segment.description) == (PAYING, "Customers")


@pytest.mark.parametrize(
    ("verb", "key", "new"),
    [
        ("set-rules new_checkout", "new_checkout", []),
        (
            "segment update enterprise --conditions",
            "enterprise",
            [{"attribute": "seats", "operator": "gte", "values": [100]}],
        ),
    ],
)
@pytest.mark.usefixtures("flag")
def test_verb_that_writes_accepts_actor_reason_and_version(
    file: Path, verb: str, key: str, new: object
) -> None:
    file.write_text(json.dumps(new))
    assert run(f"{verb} {file} --expect-version 1").status == 4
    ran = run(f'{verb} {file} --as-name deploy --reason "ticket 7"')
    assert ran.status == 0, ran.err
    entry = Change.objects.filter(key=key).latest("id")
    assert (entry.actor, entry.source, entry.reason) == ("deploy", "command", "ticket 7")


def test_segment_create_warns_of_a_key_that_differs_in_case(
    enterprise: Segment, file: Path
) -> None:
    assert "only in case" in run(f"segment create Enterprise {file}").err


def test_segment_update_reads_the_standard_input(
    enterprise: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = [{"attribute": "seats", "operator": "gte", "values": [100]}]
    monkeypatch.setattr("sys.stdin", StringIO(json.dumps(large)))
    assert run("segment update enterprise --conditions -").status == 0
    assert Segment.objects.get().conditions == large


def test_segment_update_without_a_field_is_an_error(enterprise: Segment) -> None:
    ran = run("segment update enterprise")
    assert (ran.status, ran.err) == (2, "CommandError: pass --conditions or --description\n")


def test_unknown_segment_has_the_exit_status_of_an_unknown_key(enterprise: Segment) -> None:
    ran = run("segment show enterprize")
    assert (ran.status, ran.err) == (
        5,
        "CommandError: there is no segment 'enterprize'; did you mean 'enterprise'?\n",
    )


def test_segment_show_lists_the_flags_that_use_it(flag: FeatureFlag) -> None:
    assert document("segment", "show", "enterprise")["flags"] == ["new_checkout"]


def test_segment_list_in_a_pipe_has_the_conditions(enterprise: Segment) -> None:
    [record] = document("segment", "list")
    assert (record["key"], record["conditions"]) == ("enterprise", PAYING)


def test_segment_list_without_segments_says_so() -> None:
    assert run("segment list").err == "no segments\n"


def test_segment_delete_of_a_used_segment_is_refused(flag: FeatureFlag) -> None:
    ran = run("segment delete enterprise --yes")
    assert ran.status == 4
    assert "is used by the rules of 'new_checkout'" in ran.err


def test_undo_and_restore_of_a_segment_need_the_option(enterprise: Segment) -> None:
    [creation] = document("history", "enterprise", "--segment")
    assert creation["kind"] == "segment"
    assert run("undo enterprise --segment").status == 0
    assert not Segment.objects.exists()
    assert run(f"restore enterprise {creation['version']} --segment").status == 0
    assert Segment.objects.get().conditions == PAYING


def test_history_without_a_key_has_flags_and_segments(flag: FeatureFlag) -> None:
    assert {event["kind"] for event in document("history")} == {"flag", "segment"}


def test_set_rules_replaces_the_rules(flag: FeatureFlag, file: Path) -> None:
    file.write_text(json.dumps([{"conditions": PAYING}]))
    assert run(f"set-rules new_checkout {file}").status == 0
    assert FeatureFlag.objects.get().rules == [{"conditions": PAYING}]


def test_set_rules_with_an_old_version_is_refused(flag: FeatureFlag, file: Path) -> None:
    file.write_text("[]")
    assert run(f"set-rules new_checkout {file} --expect-version 1").status == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "not valid JSON"),
        ('[{"name": "a", "name": "b"}]', "twice"),
        ("{}", "rules: the rules must be a list, not an object"),
        ('[{"conditions": [{"attribute": "a"}]}]', "rules: rule 1, condition 1: the member"),
        ('[{"conditions": [{"segment": "gone"}]}]', "does not exist"),
    ],
)
def test_set_rules_refuses_a_file_with_a_mistake(
    text: str, message: str, flag: FeatureFlag, file: Path
) -> None:
    file.write_text(text)
    ran = run(f"set-rules new_checkout {file}")
    assert message in ran.err
    assert ran.status in {2, 4}
    assert FeatureFlag.objects.get().rules == RULES


def test_file_that_is_not_text_is_an_error(flag: FeatureFlag, file: Path) -> None:
    file.write_bytes(b"\xff")
    ran = flags("set-rules", "new_checkout", str(file))
    assert (ran.status, ran.err) == (2, f"CommandError: {file} is not UTF-8 text\n")


def test_segment_list_on_a_terminal_marks_conditions_that_are_no_list(enterprise: Segment) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE flagstaff_segment SET conditions = 'null'")
    assert "unreadable" in typed("flags segment list")


@pytest.fixture
def flag_model_without_rules(monkeypatch: pytest.MonkeyPatch) -> type[Model]:
    model: type[Model] = model_of("Switch", flag_fields(rules=TextField(default="mine")))
    with connection.schema_editor() as editor:
        editor.create_model(model)
    monkeypatch.setattr(Conf, "flag_model", model)
    return model


def test_set_rules_without_a_column_for_rules_says_so(
    enterprise: Segment, flag_model_without_rules: type[Model], file: Path
) -> None:
    assert run("create new_checkout").status == 0
    file.write_text(json.dumps([{"conditions": [{"segment": "enterprise"}]}]))
    ran = run(f"set-rules new_checkout {file}")
    assert (ran.status, ran.err) == (
        4,
        (
            "CommandError: refused: the flag model of this project has no column for rules; add "
            "the field `rules`, and run makemigrations and migrate\n"
        ),
    )
    assert run("on new_checkout").status == 0
    # The field of this name belongs to the project.
    [row] = flag_model_without_rules._default_manager.values("enabled", "rules")
    assert row == {"enabled": True, "rules": "mine"}
    assert run("segment delete enterprise --yes").status == 0
