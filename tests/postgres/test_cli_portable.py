"""Export, import and the undo of a whole import, as they are typed."""

from __future__ import annotations

import io
import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from flagstaff.changes import set_rollout
from flagstaff.history import flag_history, flag_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.terminals import Ran, flags, open_shop, typed

# Where each change is a transaction of its own, as it is in life.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop() -> None:
    Change.objects.all().delete()
    open_shop()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The shop, as it is."""
    path = tmp_path / "flags.yaml"
    assert run(f"export --file {path}").status == 0
    return path


def run(line: str) -> Ran:
    return flags(*shlex.split(line))


def edit(path: Path, *changes: tuple[str, str]) -> None:
    said = path.read_text()
    for old, new in changes:
        assert said.count(old) == 1
        said = said.replace(old, new)
    path.write_text(said)


def percent(key: str) -> int:
    return FeatureFlag.objects.get(key=key).rollout_percent


NARROWER = ("rollout_percent: 25", "rollout_percent: 5")
LARGER = ("value: 20", "value: 50")


# Export.


@pytest.mark.parametrize("name", ["flags.json", "flags.yaml", "flags.yml"])
def test_name_of_the_file_says_the_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert run(f"export --file {path}").err == f"{path}: 5 flags and 3 values\n"
    assert path.read_text().startswith("{" if name.endswith("json") else "# Flags and values")
    ran = run(f"import {path}")
    assert (ran.status, ran.out) == (0, "")
    assert ran.err == "everything is so already, nothing to do\n"


def test_other_names_need_the_format(tmp_path: Path) -> None:
    path = tmp_path / "flags.txt"
    ran = run(f"export --file {path}")
    assert (ran.status, path.exists()) == (2, False)
    assert "ends in none of .json, .yaml, .yml; say --format" in ran.err
    assert run(f"export --file {path} --format json").status == 0
    assert run(f"import {path}").status == 2
    assert run(f"import {path} --format json").status == 0


def test_standard_output_has_the_document_and_nothing_else() -> None:
    assert run("export dark_mode").out.startswith("# Flags and values")
    for line in ("export --json", "export --format json", "export --file - --format json"):
        ran = run(line)
        assert (len(json.loads(ran.out)["flags"]), ran.err) == (5, "")


def test_unknown_key_has_its_status() -> None:
    ran = run("export new_chekout")
    assert (ran.status, ran.out) == (5, "")
    assert "did you mean 'new_checkout'?" in ran.err


# Import.


def test_dry_run_shows_the_difference_and_writes_nothing(file: Path) -> None:
    edit(file, NARROWER, LARGER)
    ran = run(f"import {file} --dry-run")
    assert ran.status == 6
    assert ran.out.splitlines() == [
        "change\tflag\tnew_checkout\trollout_percent 25 → 5",
        "change\tvalue\tpage_size\tvalue 20 → 50",
    ]
    assert "6 are so already" in ran.err
    assert "CommandError: 2 changes would be made" in ran.err
    assert (percent("new_checkout"), KeyValueStore.objects.get(key="page_size").value) == (25, 20)


def test_dry_run_of_what_is_so_already_is_status_0(file: Path) -> None:
    assert run(f"import {file} --dry-run").status == 0


def test_dry_run_for_programs(file: Path) -> None:
    edit(file, NARROWER)
    ran = run(f"import {file} --dry-run --json")
    [change] = json.loads(ran.out)["changes"]
    assert (ran.status, change["key"], change["action"]) == (6, "new_checkout", "change")
    assert change["differences"] == [
        {"field": "rollout_percent", "old": 25, "new": 5, "secret": False}
    ]


def test_terminal_marks_what_comes_and_goes(file: Path) -> None:
    edit(file, ("beta_reviews:", "beta_2:"), NARROWER)
    screen = typed(f"flags import {file} --dry-run --delete-missing")
    assert re.findall(r"(?m)^([-+~]) +flag +(\w+)", screen) == [
        ("+", "beta_2"),
        ("-", "beta_reviews"),
        ("~", "new_checkout"),
    ]


def test_import_is_told_attributed_and_taken_back_by_the_line_that_it_prints(file: Path) -> None:
    edit(file, NARROWER, LARGER, ("summer_banner:", "winter_banner:"))
    ran = run(f'import {file} --reason "release 42" --as bob')
    assert ran.status == 0, ran.err
    event = flag_history("winter_banner")[0]
    assert (event.actor, event.source, event.reason) == ("2", "command", "release 42")
    [back] = re.findall(r"undo: manage.py flags (undo --transaction \d+)", ran.err)
    undone = run(back)
    assert undone.status == 0, undone.err
    assert undone.err.splitlines()[:3] == [
        "new_checkout: rollout_percent 5 → 25",
        "winter_banner: deleted",
        "page_size: value 50 → 20",
    ]
    assert percent("new_checkout") == 25
    assert not FeatureFlag.objects.filter(key="winter_banner").exists()
    [again] = re.findall(r"undo: manage.py flags (undo --transaction \d+)", undone.err)
    assert run(again).status == 0
    assert percent("new_checkout") == 5


def test_undo_of_an_import_over_a_newer_change_is_refused(file: Path) -> None:
    edit(file, NARROWER, LARGER)
    run(f"import {file}")
    change = flag_version("new_checkout")
    set_rollout("new_checkout", 60)
    ran = run(f"undo --transaction {change}")
    assert ran.status == 4
    assert f"refused: new_checkout has version {flag_version('new_checkout')}" in ran.err
    assert KeyValueStore.objects.get(key="page_size").value == 50


def test_undo_of_one_part_says_that_there_is_more(file: Path) -> None:
    edit(file, NARROWER, LARGER)
    run(f"import {file}")
    change = flag_version("new_checkout")
    ran = run("undo new_checkout")
    assert f"manage.py flags undo --transaction {change}" in ran.err
    assert KeyValueStore.objects.get(key="page_size").value == 50


def test_undo_wants_a_key_or_a_transaction() -> None:
    assert run("undo").status == 2
    assert run("undo new_checkout --transaction 7").status == 2
    assert run("undo --transaction 7 --expect-version 7").status == 2


def test_everything_that_is_wrong_is_status_2(file: Path) -> None:
    edit(file, ("rollout_percent: 25", "rollout_percent: 101"), ("- bob", "- carol"))
    ran = run(f"import {file}")
    assert ran.status == 2
    assert ran.err.splitlines()[0] == "CommandError: nothing was written, for 2 things are wrong:"
    assert "new_checkout.rollout_percent: Ensure this value is less" in ran.err
    assert "no user has the username 'carol'" in ran.err


def test_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "flags.yaml"
    assert run(f"import {path}").status == 1
    path.write_bytes(b"flagstaff: \xff")
    ran = run(f"import {path}")
    assert (ran.status, "is no text in UTF-8: byte 12 fits in none" in ran.err) == (2, True)


def test_input_is_read_and_unknown_users_are_skipped_if_that_is_said(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(file, ("- bob", "- carol"))
    said = SimpleNamespace(buffer=io.BytesIO(file.read_bytes()), isatty=lambda: False)
    monkeypatch.setattr("sys.stdin", said)
    ran = run("import - --skip-unknown-users")
    assert ran.status == 0
    assert "left out, for they are no users here: 'carol'" in ran.err
    assert "removed 1 allowed user (bob)" in ran.out


def test_deletion_wants_a_yes(file: Path) -> None:
    edit(file, ("summer_banner:", "winter_banner:"))
    ran = run(f"import {file} --delete-missing")
    assert (ran.status, "say --yes" in ran.err) == (2, True)
    assert percent("summer_banner") == 100
    assert run(f"import {file} --delete-missing --yes").status == 0
    assert not FeatureFlag.objects.filter(key="summer_banner").exists()


def test_version_in_the_file_guards_what_is_newer(tmp_path: Path) -> None:
    path = tmp_path / "flags.yaml"
    run(f"export --versions --file {path}")
    edit(path, NARROWER)
    set_rollout("new_checkout", 60)
    for line in (f"import {path} --dry-run", f"import {path}"):
        ran = run(line)
        assert (ran.status, "refused: new_checkout has version" in ran.err) == (4, True)
    assert percent("new_checkout") == 60
    assert run(f"import {path} --ignore-versions").status == 0


def test_plan_that_was_shown_is_done_or_nothing(file: Path) -> None:
    edit(file, NARROWER)
    shown = run(f"import {file} --dry-run").err
    [line] = re.findall(r"to do just this: manage.py flags (.+)", shown)
    set_rollout("dark_mode", 60)
    ran = run(line)
    assert (ran.status, "refused: the plan is now" in ran.err) == (4, True)
    assert percent("new_checkout") == 25
    set_rollout("dark_mode", 100)
    assert run(line).status == 0
    assert percent("new_checkout") == 5


def test_line_that_was_shown_does_all_that_was_asked_for(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "flags.txt"
    edit(file, ("summer_banner:", "winter_banner:"), ("- bob", "- carol"))
    path.write_text(file.read_text())
    shown = run(f"import {path} --format yaml --delete-missing --skip-unknown-users --dry-run").err
    [line] = re.findall(r"to do just this: manage.py flags (.+)", shown)
    assert run(f"{line} --yes").status == 0
    assert not FeatureFlag.objects.filter(key="summer_banner").exists()


def test_plan_that_was_shown_is_done_or_nothing_whatever_a_person_says_to_another(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(file, ("summer_banner:", "winter_banner:"), NARROWER)
    shown = run(f"import {file} --delete-missing --dry-run").err
    [plan] = re.findall(r"--expect-plan (\w+)", shown)
    set_rollout("dark_mode", 60)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda: "y")
    ran = run(f"import {file} --delete-missing --expect-plan {plan}")
    assert (ran.status, "refused: the plan is now" in ran.err) == (4, True)
    assert percent("new_checkout") == 25


def test_import_waits_if_it_is_told_to(file: Path) -> None:
    edit(file, NARROWER)
    ran = run(f"import {file} --wait 0 --json")
    assert "propagation" in json.loads(ran.out)
