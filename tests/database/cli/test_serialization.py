"""`manage.py flags export`, `import`, and `undo-transaction`."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flagstaff import acting_as, changes, serialization
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.history import flag_history
from tests.support.terminals import run, typed, undo_of

# Each change is a transaction of its own.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cli_shop")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An export of the shop."""
    path = tmp_path / "flags.json"
    assert run(f"export --file {path}").status == 0
    return path


def edit(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path.write_text(text)


def percent(key: str) -> int:
    return FeatureFlag.objects.get(key=key).rollout_percent


NARROWER = ('"rollout_percent": 25', '"rollout_percent": 5')
LARGER = ('"value": 20', '"value": 50')
CAROL = ('"bob"', '"carol"')
WINTER = ('"summer_banner":', '"winter_banner":')


def test_import_of_an_export_is_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "flags.txt"
    assert run(f"export --file {path}").err == f"{path}: 5 flags, 3 values and 1 segment\n"
    assert run(f"import {path}") == (0, "", "already up to date\n")


def test_export_to_stdout_prints_the_document_only() -> None:
    for line in ("export", "export --json", "export --file -"):
        ran = run(line)
        assert (len(json.loads(ran.out)["flags"]), ran.err) == (5, "")


def test_dry_run_prints_differences_and_writes_nothing(file: Path, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "REQUIRE_REASON": True}
    assert run(f"import {file} --dry-run").status == 0
    edit(file, NARROWER, LARGER)
    ran = run(f"import {file} --dry-run")
    assert ran.status == 6
    assert ran.out.splitlines() == [
        "change\tflag\tnew_checkout\trollout 25 → 5 %",
        "change\tvalue\tpage_size\tvalue 20 → 50",
    ]
    assert "7 already up to date" in ran.err
    assert "CommandError: 2 changes would be made" in ran.err
    assert (percent("new_checkout"), KeyValueStore.objects.get(key="page_size").value) == (25, 20)
    ran = run(f"import {file} --dry-run --json")
    found = json.loads(ran.out)
    change, _value = found["changes"]
    assert (ran.status, found["dry_run"]) == (6, True)
    assert (change["key"], change["action"]) == ("new_checkout", "change")
    assert change["differences"] == [
        {"field": "rollout_percent", "old": 25, "new": 5, "secret": False}
    ]


def test_dry_run_on_a_terminal_marks_created_and_deleted_flags(file: Path) -> None:
    edit(file, ('"beta_reviews":', '"beta_2":'), NARROWER)
    screen = typed(f"flags import {file} --dry-run --delete-missing")
    assert re.findall(r"(?m)^([-+~]) +flag +(\w+)", screen) == [
        ("-", "beta_reviews"),
        ("+", "beta_2"),
        ("~", "new_checkout"),
    ]


def test_import_is_attributed_and_reverted_by_the_printed_undo_command(file: Path) -> None:
    edit(file, NARROWER, LARGER, WINTER)
    ran = run(f'import {file} --reason "release 42" --as bob')
    assert ran.status == 0, ran.err
    event = flag_history("winter_banner")[0]
    assert (event.actor, event.source, event.reason) == ("2", "command", "release 42")
    assert undo_of(ran.err).startswith("undo-transaction ")
    undone = run(undo_of(ran.err))
    assert undone.status == 0, undone.err
    assert undone.err.splitlines()[:3] == [
        "page_size: value 50 → 20",
        'winter_banner: deleted, rollout 100 %, kind "release"',
        "new_checkout: rollout 5 → 25 %",
    ]
    assert percent("new_checkout") == 25
    assert not FeatureFlag.objects.filter(key="winter_banner").exists()
    assert run(undo_of(undone.err)).status == 0
    assert percent("new_checkout") == 5


def test_undo_of_a_transaction_with_a_newer_change_writes_nothing(file: Path) -> None:
    edit(file, NARROWER, LARGER)
    run(f"import {file}")
    change = flag_version("new_checkout")
    with acting_as("ana"):
        changes.flags.set_rollout("new_checkout", 60)
    ran = run(f"undo-transaction {change}")
    assert ran.status == 4
    assert "refused: new_checkout: rollout was changed again and is 60 % now" in ran.err
    assert KeyValueStore.objects.get(key="page_size").value == 50


def test_import_reports_all_problems_with_status_2(file: Path) -> None:
    edit(file, (NARROWER[0], '"rollout_percent": 101'), CAROL)
    ran = run(f"import {file}")
    assert ran.status == 2
    assert ran.err.splitlines()[0] == "CommandError: nothing was written; 2 problems:"
    assert "new_checkout: rollout_percent: Ensure this value is less" in ran.err
    assert "not exactly one user is 'carol'" in ran.err


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b"", b" "])
def test_import_of_a_file_that_is_too_large_says_so(tmp_path: Path, start: bytes) -> None:
    large = tmp_path / "flags.json"
    large.write_bytes(start + b'{"flagstaff": 1, "flags": {"a": {"description": "')
    with large.open("ab") as file:
        file.write("é".encode() * (9 * 2**20))
    ran = run(f"import {large}")
    assert ran.status == 2
    assert "the file is larger than 16,777,216 bytes" in ran.err


def test_import_of_a_missing_or_binary_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    assert run(f"import {path}").status == 2
    path.write_bytes(b'{"a": "bc\xff')
    ran = run(f"import {path}")
    assert (ran.status, "is not UTF-8 text: byte 10 is not valid" in ran.err) == (2, True)


def test_import_reads_stdin_and_skips_unknown_users(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(file, CAROL)
    stdin = SimpleNamespace(buffer=io.BytesIO(file.read_bytes()), isatty=lambda: False)
    monkeypatch.setattr("sys.stdin", stdin)
    ran = run("import - --skip-unknown")
    assert ran.status == 0
    assert "skipped users that do not exist: 'carol'" in ran.err
    assert "removed 1 allowed user (bob)" in ran.out


def test_import_with_deletions_needs_yes(file: Path) -> None:
    edit(file, WINTER)
    ran = run(f"import {file} --delete-missing")
    assert (ran.status, "pass --yes" in ran.err) == (2, True)
    assert percent("summer_banner") == 100
    ran = run(f"import {file} --delete-missing --yes --wait 0 --json")
    assert ran.status == 0
    assert "propagation" in json.loads(ran.out)
    assert not FeatureFlag.objects.filter(key="summer_banner").exists()


def test_import_does_not_delete_what_is_created_after_the_question(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = serialization.apply

    def apply(*arguments: Any, **options: Any) -> serialization.Imported:
        found = real(*arguments, **options)
        FeatureFlag.objects.create(key="newer")
        return found

    monkeypatch.setattr(serialization, "apply", apply)
    ran = run(f"import {file} --delete-missing")
    assert (ran.status, "refused: the plan is now" in ran.err) == (4, True)
    assert FeatureFlag.objects.filter(key="newer").exists()


def test_import_refuses_to_overwrite_newer_versions(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    run(f"export --versions --file {path}")
    edit(path, NARROWER)
    changes.flags.set_rollout("new_checkout", 60)
    for line in (f"import {path} --dry-run", f"import {path}"):
        ran = run(line)
        assert (ran.status, "refused: new_checkout has version" in ran.err) == (4, True)
    assert percent("new_checkout") == 60
    assert run(f"import {path} --ignore-versions").status == 0


def test_printed_import_command_keeps_all_options_and_refuses_other_differences(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "flags.txt"
    edit(file, NARROWER, WINTER, CAROL)
    path.write_text(file.read_text())
    shown = run(f"import {path} --delete-missing --skip-unknown --dry-run").err
    [line] = re.findall(r"to apply exactly this: python manage.py flags (.+)", shown)
    changes.flags.set_rollout("dark_mode", 60)
    # Neither --yes nor a confirmation allows another plan.
    ran = run(f"{line} --yes")
    assert (ran.status, "refused: the plan is now" in ran.err) == (4, True)
    with monkeypatch.context() as terminal:
        terminal.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
        terminal.setattr("builtins.input", lambda: "y")
        ran = run(line)
        assert (ran.status, "refused: the plan is now" in ran.err) == (4, True)
    assert percent("new_checkout") == 25
    changes.flags.set_rollout("dark_mode", 100)
    assert run(f"{line} --yes").status == 0
    assert percent("new_checkout") == 5
    assert not FeatureFlag.objects.filter(key="summer_banner").exists()
