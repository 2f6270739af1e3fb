"""`manage.py flags`: exit statuses and messages of errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from flagstaff.cli.support.topics import Topic
from flagstaff.management.commands.flags import Command
from tests.conftest import ROOT
from tests.support.terminals import flags

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cli_shop")]


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


UNKNOWN_KEYS = [
    *("show new_chekout", "on new_chekout", "off new_chekout", "rollout new_chekout 5"),
    *("explain new_chekout 1", "explain new_chekout --anonymous"),
    *("value get payment_gatevay", "value set payment_gatevay 1"),
]


@pytest.mark.parametrize("line", UNKNOWN_KEYS)
def test_unknown_key_is_an_error_with_similar_keys(line: str) -> None:
    status, out, err = flags(*line.split(), "--json")
    assert (status, out) == (5, "")
    assert re.search(r"^CommandError: there is no .* did you mean '(new_ch|payment_ga)\w+'\?$", err)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "show payment_gateway",
            (
                "there is no flag 'payment_gateway'; there is a value with this key; run "
                '"manage.py flags value get payment_gateway"'
            ),
        ),
        (
            "value set new_checkout 5",
            (
                "there is no value 'new_checkout'; there is a flag with this key; run "
                '"manage.py flags show new_checkout"'
            ),
        ),
    ],
)
def test_key_of_the_other_table_is_an_error_that_says_so(line: str, message: str) -> None:
    assert flags(*line.split()) == (5, "", f"CommandError: {message}\n")


def test_unknown_key_is_an_error_for_a_role_that_may_not_read_the_other_table() -> None:
    execute("CREATE ROLE reader; GRANT SELECT ON flagstaff_featureflag TO reader")
    execute("SET LOCAL ROLE reader")
    assert flags("show", "payment_gateway").status == 5


@pytest.mark.parametrize("line", ["explain new_checkout alcie", "test new_checkout bob alcie"])
def test_misspelt_username_is_an_error_with_a_similar_one(line: str) -> None:
    message = "no user has the primary key or username 'alcie'; did you mean 'alice'?"
    assert flags(*line.split()) == (1, "", f"CommandError: {message}\n")


@pytest.fixture
def run_as_process(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a command line as `manage.py` does, and returns its exit status."""
    # The test's transaction ends with its connection.
    monkeypatch.setattr("django.db.connections.close_all", lambda: None)

    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            Command().run_from_argv(["manage.py", "flags", *arguments])
        return int(ended.value.code or 0)

    return run


def test_error_is_a_line_of_json_on_standard_error_with_json(
    run_as_process: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_as_process("off", "new_chekout", "--json") == 5
    out, err = capsys.readouterr()
    message = "there is no flag 'new_chekout'; did you mean 'new_checkout'?"
    assert (out, json.loads(err)) == ("", {"error": {"status": 5, "message": message}})
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("kil x --json", "there is no verb 'kil'; did you mean 'kill'?"),
        ("off --json", "the following arguments are required: KEY"),
    ],
)
def test_wrong_arguments_are_an_error_in_json_with_json(
    line: str,
    message: str,
    run_as_process: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["manage.py", "flags", *line.split()])
    assert run_as_process(*line.split()) == 2
    out, err = capsys.readouterr()
    assert (out, json.loads(err)) == ("", {"error": {"status": 2, "message": message}})


def test_error_is_text_without_json(
    run_as_process: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_as_process("off", "new_chekout", "--no-color") == 5
    assert capsys.readouterr().err.startswith("CommandError: there is no flag ")


def test_error_of_call_command_is_an_exception_with_json() -> None:
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
    line: str,
    message: str,
    run_as_process: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
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


def test_help_has_the_verbs_under_the_headings_of_the_documentation() -> None:
    shown = flags().out
    page = (ROOT / "docs" / "reference" / "commands.md").read_text().partition("\n## ")[0]
    topics = re.findall(r"^\*\*(.+)\*\*$", page, re.MULTILINE)
    assert topics == [topic.value for topic in Topic]
    assert re.findall(r"^([A-Z].+):$", shown, re.MULTILINE) == topics
    listed = re.findall(r"^  ([a-z-]+) ", shown, re.MULTILINE)
    in_page = re.findall(r"^\| \[`([a-z-]+)", page, re.MULTILINE)
    assert listed[: len(set(in_page))] == list(dict.fromkeys(in_page))


def test_help_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert all(len(line) <= 60 for line in flags().out.splitlines()[:-1])


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("plan strat", "; write the key first: manage.py flags plan KEY start"),
        ("plan status", "; write the key first: manage.py flags plan KEY status"),
        ("experiment shwo", "; write the key first: manage.py flags experiment KEY show"),
    ],
)
def test_verb_in_the_place_of_a_key_is_an_error_with_advice(line: str, advice: str) -> None:
    status, _, err = flags(*line.split())
    assert status == 5
    assert err.endswith(f"{advice}\n")


def test_missing_table_is_an_error_that_names_migrate() -> None:
    execute("ALTER TABLE flagstaff_featureflag RENAME TO gone")
    status, _, err = flags("off", "new_checkout")
    assert status == 1
    assert err == (
        'CommandError: relation "flagstaff_featureflag" does not exist; run "manage.py migrate"\n'
    )


def test_change_in_a_read_only_transaction_is_refused() -> None:
    execute("SET CONSTRAINTS ALL IMMEDIATE; SET TRANSACTION READ ONLY")
    assert flags("show", "new_checkout").status == 0
    status, _, err = flags("off", "new_checkout")
    assert status == 4
    assert err.startswith("CommandError: the database does not allow this: cannot execute ")


def test_change_by_a_role_without_privileges_is_refused() -> None:
    execute("CREATE ROLE reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    execute("SET LOCAL ROLE reader")
    assert flags("show", "new_checkout").status == 0
    status, _, err = flags("off", "new_checkout")
    assert status == 4
    assert err.startswith(
        "CommandError: the database does not allow this: permission denied for table"
    )
