"""`manage.py flags`: exit statuses and messages of errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.utils.module_loading import import_string

from flagstaff.cli.verb import APPS, Topic
from flagstaff.management.commands.flags import Command
from tests.conftest import ROOT
from tests.support.sql import rows
from tests.support.terminals import flags

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cli_shop")]


UNKNOWN_KEYS = [
    *("show new_chekout", "on new_chekout", "off new_chekout", "rollout new_chekout 5"),
    *("explain new_chekout 1", "explain new_chekout --anonymous"),
    *("value get payment_gatevay", "value set payment_gatevay 1", "export new_chekout"),
]


@pytest.mark.parametrize("line", UNKNOWN_KEYS)
def test_unknown_key_is_an_error_with_similar_keys(line: str) -> None:
    status, out, err = flags(*line.split(), "--json")
    assert (status, out) == (5, "")
    assert re.search(r"^CommandError: there is no .* did you mean '(new_ch|payment_ga)\w+'\?$", err)


@pytest.mark.parametrize(
    ("line", "missing", "found", "advice"),
    [
        ("show payment_gateway", "flag", "value", "value get payment_gateway"),
        ("value set new_checkout 5", "value", "flag", "show new_checkout"),
    ],
)
def test_key_of_the_other_table_is_an_error_that_says_so(
    line: str, missing: str, found: str, advice: str
) -> None:
    key = advice.rpartition(" ")[2]
    assert flags(*line.split()) == (
        5,
        "",
        (
            f"CommandError: there is no {missing} '{key}'; there is a {found} with this key; "
            f'run "manage.py flags {advice}"\n'
        ),
    )


def test_misspelt_username_is_an_error_with_a_similar_one() -> None:
    message = "no user has the primary key or username 'alcie'; did you mean 'alice'?"
    assert flags("explain", "new_checkout", "alcie") == (1, "", f"CommandError: {message}\n")


@pytest.fixture
def run_as_process(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a command line as `manage.py` does, and returns its exit status."""
    # The test's transaction ends with its connection.
    monkeypatch.setattr("django.db.connections.close_all", lambda: None)

    def run(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["manage.py", "flags", *arguments])
        with pytest.raises(SystemExit) as ended:
            Command().run_from_argv(["manage.py", "flags", *arguments])
        return int(ended.value.code or 0)

    return run


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ("off new_chekout", 5, "there is no flag 'new_chekout'; did you mean 'new_checkout'?"),
        ("kil x", 2, "there is no verb 'kil'; did you mean 'kill'?"),
        ("off", 2, "the following arguments are required: KEY"),
    ],
)
def test_error_is_a_line_of_json_on_standard_error_with_json(
    line: str,
    status: int,
    message: str,
    run_as_process: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_as_process(*line.split(), "--json") == status
    out, err = capsys.readouterr()
    assert (out, json.loads(err)) == ("", {"error": {"status": status, "message": message}})
    assert err.count("\n") == 1


def test_error_is_text_without_json_and_an_exception_of_call_command(
    run_as_process: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_as_process("off", "new_chekout", "--no-color") == 5
    assert capsys.readouterr().err.startswith("CommandError: there is no flag ")
    with pytest.raises(CommandError, match="there is no flag"):
        call_command("flags", "off", "new_chekout", "--json")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("kil new_checkout", "there is no verb 'kil'; did you mean 'kill'?"),
        ("value gte page_size", "there is no action 'gte'; did you mean 'get'?"),
        ("zzz", "there is no verb 'zzz'; --help lists all verbs"),
    ],
)
def test_unknown_verb_is_an_error_with_a_similar_verb(
    line: str, message: str, run_as_process: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_as_process(*line.split()) == 2
    assert capsys.readouterr().err.endswith(f"error: {message}\n")


@pytest.mark.parametrize(
    ("line", "what", "verb"), [("", "verb", "rollout"), ("value", "action", "delete")]
)
def test_command_without_a_verb_prints_the_help(line: str, what: str, verb: str) -> None:
    status, out, err = flags(*line.split())
    assert (status, err) == (2, f"CommandError: no {what}: pass one of the {what}s above\n")
    assert out.startswith("usage: ")
    assert re.search(rf"^ +{verb} ", out, re.MULTILINE)


def test_help_has_the_verbs_under_the_headings_of_the_documentation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = flags().out
    page = (ROOT / "docs" / "reference" / "commands.md").read_text().partition("\n## ")[0]
    topics = re.findall(r"^\*\*(.+)\*\*$", page, re.MULTILINE)
    assert topics == [topic.value for topic in Topic]
    assert re.findall(r"^([A-Z].+):$", shown, re.MULTILINE) == topics
    listed = re.findall(r"^  ([a-z-]+) ", shown, re.MULTILINE)
    in_page = re.findall(r"^\| \[`([a-z-]+)", page, re.MULTILINE)
    assert listed[: len(set(in_page))] == list(dict.fromkeys(in_page))
    monkeypatch.setenv("COLUMNS", "60")
    assert all(len(line) <= 60 for line in flags().out.splitlines()[:-1])


@pytest.mark.parametrize("verb", sorted(APPS))
def test_verb_of_an_app_that_is_not_installed_names_the_app(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flagstaff.cli.main.VERBS_OF_APPS", ())
    with pytest.raises(CommandError) as refused:
        Command().create_parser("manage.py", "flags").parse_args([verb])
    needs = f"'{verb}' needs \"{APPS[verb]}\" in INSTALLED_APPS; add it, and run"
    assert needs in str(refused.value)


def test_verbs_of_apps_are_known_with_their_app() -> None:
    tables = {app.name: getattr(app, "flagstaff_hooks", {}) for app in apps.get_app_configs()}
    verbs = {app: import_string(table["verbs"]) for app, table in tables.items() if table}
    assert {verb.name: app for app, of_app in verbs.items() for verb in of_app} == APPS


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("flagstaff_experiments_experiment", "experiment list"),
        ("flagstaff_experiments_experiment", "experiment show color"),
        ("flagstaff_rollouts_plan", "plan show new_checkout"),
        ("flagstaff_rollouts_plan", "plan start new_checkout --step 50:1h --step 100"),
    ],
)
def test_missing_table_of_an_app_is_an_error_that_names_migrate(table: str, line: str) -> None:
    rows(f"ALTER TABLE {table} RENAME TO gone")
    status, out, err = flags(*line.split())
    assert (status, out) == (1, "")
    assert re.fullmatch(
        rf'CommandError: relation "{table}" does not exist; run "manage.py migrate"\n', err
    )


def test_missing_table_is_an_error_that_names_migrate() -> None:
    rows("ALTER TABLE flagstaff_featureflag RENAME TO gone")
    assert flags("off", "new_checkout") == (
        1,
        "",
        'CommandError: relation "flagstaff_featureflag" does not exist; run "manage.py migrate"\n',
    )


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        ("SET CONSTRAINTS ALL IMMEDIATE; SET TRANSACTION READ ONLY", "cannot execute "),
        (
            (
                "CREATE ROLE reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;"
                "REVOKE SELECT ON flagstaff_keyvaluestore FROM reader; SET LOCAL ROLE reader"
            ),
            "permission denied for table ",
        ),
    ],
    ids=["read only", "role"],
)
def test_change_that_the_database_does_not_allow_is_refused(statements: str, reason: str) -> None:
    rows(statements)
    assert flags("show", "new_checkout").status == 0
    # The role may not even look whether there is a value with this key.
    assert flags("show", "payment_gateway").status == 5
    status, _, err = flags("off", "new_checkout")
    assert status == 4
    assert err.startswith(f"CommandError: the database does not allow this: {reason}")
