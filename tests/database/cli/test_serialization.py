"""`manage.py flags export` and `import`. tests/database/serialization tests what is written."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flagstaff import changes, serialization
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.history import flag_history
from tests.support.plans import rollout
from tests.support.terminals import asked, ok, refused, run, typed, undo_of

# Each change is a transaction of its own.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_shop")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An export of the shop."""
    path = tmp_path / "flags.txt"
    assert run(f"export --file {path}").err == f"{path}: 5 flags, 3 values, 1 segment\n"
    assert run(f"import {path}") == (0, "", "already up to date\n")
    return path


def edit(path: Path, *replacements: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in replacements:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path.write_text(text)


NARROWER = ('"rollout_percent": 25', '"rollout_percent": 5')
LARGER = ('"value": 20', '"value": 50')
CAROL = ('"bob"', '"carol"')
WINTER = ('"summer_banner":', '"winter_banner":')


@pytest.mark.parametrize("options", ["", "--json", "--file -"])
def test_export_to_the_standard_output_prints_the_document_only(options: str) -> None:
    ran = run(f"export {options}")
    assert (len(json.loads(ran.out)["flags"]), ran.err) == (5, "")


def test_dry_run_prints_differences_and_has_a_status_for_them(file: Path) -> None:
    edit(file, NARROWER, LARGER)
    ran = run(f"import {file} --dry-run")
    assert ran.status == 6
    assert ran.out.splitlines() == [
        "action\tkind\tkey\tsummary",
        "change\tflag\tnew_checkout\trollout 25 → 5 %",
        "change\tvalue\tpage_size\tvalue 20 → 50",
    ]
    assert "7 already up to date" in ran.err
    assert "CommandError: 2 changes would be made" in ran.err
    ran = run(f"import {file} --dry-run --json")
    found = json.loads(ran.out)
    assert (ran.status, found["dry_run"]) == (6, True)
    change, _value = found["changes"]
    assert (change["key"], change["action"]) == ("new_checkout", "change")
    difference = {"field": "rollout_percent", "old": 25, "new": 5, "secret": False}
    assert change["differences"] == [difference]
    assert (rollout(), KeyValueStore.objects.get(key="page_size").value) == (25, 20)


def test_dry_run_on_a_terminal_marks_created_and_deleted_flags(file: Path) -> None:
    edit(file, ('"beta_reviews":', '"beta_2":'), NARROWER)
    screen = typed(f"flags import {file} --dry-run --delete-missing")
    marks = [("-", "beta_reviews"), ("+", "beta_2"), ("~", "new_checkout")]
    assert re.findall(r"(?m)^([-+~]) +flag +(\w+)", screen) == marks


def test_import_is_attributed_and_reverted_by_the_printed_undo_command(file: Path) -> None:
    edit(file, NARROWER, LARGER, WINTER)
    ran = run(f'import {file} --reason "release 42" --as bob')
    event = flag_history("winter_banner")[0]
    assert (event.actor, event.source, event.reason) == ("2", "command", "release 42")
    undone = run(undo_of(ran.err))
    assert (undone.status, rollout()) == (0, 25)
    assert undone.err.splitlines()[:3] == [
        "page_size: value 50 → 20",
        "winter_banner: deleted, rollout 100 %",
        "new_checkout: rollout 5 → 25 %",
    ]
    assert run(undo_of(undone.err)).status == 0
    assert rollout() == 5


def test_import_reads_the_standard_input_and_skips_unknown_users(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(file, CAROL)
    stdin = SimpleNamespace(buffer=io.BytesIO(file.read_bytes()), isatty=lambda: False)
    monkeypatch.setattr("sys.stdin", stdin)
    ran = ok("import - --skip-unknown")
    assert "skipped users that do not exist: 'carol'" in ran.err
    assert "removed 1 allowed user (bob)" in ran.out


def test_import_with_deletions_asks_and_needs_yes_without_a_terminal(file: Path) -> None:
    edit(file, WINTER)
    line = f"import {file} --delete-missing"
    refused(line, 2, "pass --yes")
    assert asked(line, "n").status == 2
    assert rollout("summer_banner") == 100
    assert "propagation" in json.loads(ok(f"{line} --yes --wait 0 --json").out)
    assert not FeatureFlag.objects.filter(key="summer_banner").exists()


def test_import_does_not_delete_what_is_created_after_the_plan(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = serialization.apply

    def apply(*arguments: Any, **options: Any) -> serialization.Imported:
        found = real(*arguments, **options)
        FeatureFlag.objects.create(key="newer")
        return found

    monkeypatch.setattr(serialization, "apply", apply)
    refused(f"import {file} --delete-missing", 4, "refused: the plan is now")
    assert FeatureFlag.objects.filter(key="newer").exists()


def test_import_refuses_to_overwrite_newer_versions(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    run(f"export --versions --file {path}")
    edit(path, NARROWER)
    changes.flags.set_rollout("new_checkout", 60)
    for line in (f"import {path} --dry-run", f"import {path}"):
        refused(line, 4, "refused: new_checkout has version")
    assert rollout() == 60
    assert run(f"import {path} --ignore-versions").status == 0


def test_printed_import_command_keeps_all_options_and_refuses_other_differences(file: Path) -> None:
    edit(file, NARROWER, WINTER, CAROL)
    options = "--delete-missing --skip-unknown --cancel-waiting"
    shown = run(f"import {file} {options} --dry-run").err
    [line] = re.findall(r"to apply exactly this: python manage.py flags (.+)", shown)
    assert options in line
    changes.flags.set_rollout("dark_mode", 60)
    # Neither --yes nor a confirmation allows another plan.
    for ran in (run(f"{line} --yes"), asked(line)):
        assert (ran.status, "refused: the plan is now" in ran.err) == (4, True)
    assert rollout() == 25
    changes.flags.set_rollout("dark_mode", 100)
    assert run(f"{line} --yes").status == 0
    assert rollout() == 5
    assert not FeatureFlag.objects.filter(key="summer_banner").exists()
