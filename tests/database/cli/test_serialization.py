"""`manage.py flags export` and `import`. tests/database/serialization tests what is written."""

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
    printed = json.loads(ran.out)
    assert (ran.status, printed["dry_run"]) == (6, True)
    change, _value = printed["changes"]
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
        "new_checkout: rollout 5 → 25 %",
        "winter_banner: deleted, rollout 100 %",
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
        imported = real(*arguments, **options)
        FeatureFlag.objects.create(key="newer")
        return imported

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


def test_diff_prints_a_line_for_each_field_and_has_a_status_for_them(file: Path) -> None:
    edit(file, NARROWER, LARGER, CAROL)
    ran = run(f"diff {file}")
    assert ran.status == 6
    assert ran.out.splitlines() == [
        "kind\tkey\tfield\tdifference",
        "flag\tbeta_reviews\tallowed_users\tonly here: bob",
        "flag\tnew_checkout\trollout_percent\t5 % there, 25 % here",
        "value\tpage_size\tvalue\t50 there, 20 here",
    ]
    assert ran.err.splitlines() == [
        "beta_reviews: allowed users only there, no user here: 'carol'",
        "mail_password: secret, so not compared: value",
        "CommandError: 3 differences",
    ]


def test_diff_as_json_has_differences_and_what_is_none(file: Path) -> None:
    edit(file, NARROWER, CAROL)
    ran = run(f"diff {file} --json --only state new_checkout mail_password")
    assert (ran.status, json.loads(ran.out)) == (
        6,
        {
            "differences": [
                {
                    "kind": "flag",
                    "key": "new_checkout",
                    "field": "rollout_percent",
                    "difference": "5 % there, 25 % here",
                }
            ],
            "unknown_users": {},
            "not_compared": {"mail_password": ["value"]},
        },
    )


def test_diff_without_differences_succeeds(file: Path) -> None:
    secret = "mail_password: secret, so not compared: value\n"
    assert run(f"diff {file}") == (0, "", f"no differences\n{secret}")
    assert run(f"diff {file} dark_mode --only state") == (0, "", "no differences\n")


def test_diff_needs_a_file_or_a_known_database() -> None:
    refused("diff", 2, "pass FILE, or --database ALIAS")
    refused("diff --database defalt", 2, "there is no database 'defalt'; did you mean 'default'?")


@pytest.mark.parametrize(
    "line",
    ["{file} new_checkout --only targeting,state", "{file} --only targeting,state new_checkout"],
    ids=["before", "after"],
)
def test_import_takes_keys_before_and_after_the_groups(file: Path, line: str) -> None:
    edit(file, NARROWER, LARGER)
    ok(f"import {line.format(file=file)}")
    assert (rollout(), KeyValueStore.objects.get(key="page_size").value) == (5, 20)


def test_import_of_a_part_prints_what_it_creates_and_what_it_leaves_out(file: Path) -> None:
    edit(file, WINTER, ('"page_size":', '"page_length":'))
    ran = ok(f"import {file} --only definition,targeting")
    assert "created disabled, at 0 %, without allowed users: winter_banner" in ran.err
    assert "left out, because --only lacks what they need: value page_length" in ran.err


def test_import_of_the_unit_asks_as_the_action_does(file: Path) -> None:
    document = json.loads(file.read_text())
    document["flags"]["new_checkout"]["bucket_by"] = "organization"
    file.write_text(json.dumps(document))
    by_action = asked("unit new_checkout organization", "n").err
    by_import = asked(f"import {file} --only targeting", "n").err
    assert "The new unit reassigns every user at once." in by_import
    assert by_import == by_action


def test_command_after_a_dry_run_of_a_part_imports_this_part(file: Path) -> None:
    edit(file, NARROWER, LARGER)
    ran = run(f"import {file} --only state new_checkout --dry-run")
    [line] = re.findall(r"to apply exactly this: python manage\.py flags (.+)", ran.err)
    ok(line)
    assert (rollout(), KeyValueStore.objects.get(key="page_size").value) == (5, 20)


def test_rules_of_three_flags_are_promoted_and_undone_by_two_commands(file: Path) -> None:
    keys = ["new_checkout", "dark_mode", "search_v2"]
    document = json.loads(file.read_text())
    for key in keys:
        rule = {"conditions": [{"attribute": "plan", "operator": "in", "values": ["paid"]}]}
        document["flags"][key].update(rules=[rule], rollout_percent=1, allowed_users=["zoe"])
    file.write_text(json.dumps(document))
    before = serialization.export()
    ran = ok(f"import {file} --only targeting {' '.join(keys)}")
    flags = serialization.export()["flags"]
    assert all(flags[key] == {**before["flags"][key], "rules": [rule]} for key in keys)
    ok(undo_of(ran.err))
    assert serialization.export() == before
