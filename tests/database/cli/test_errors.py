"""`manage.py flags`: exit statuses and messages of errors."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from flagstaff.management.commands.flags import Command
from tests.conftest import ROOT
from tests.support.history import newest_entry
from tests.support.sql import rows
from tests.support.terminals import flags, refused, run

pytestmark = pytest.mark.usefixtures("open_shop")

NO_FLAG = "there is no flag 'new_chekout'; did you mean 'new_checkout'?"
PERCENT = "expected a whole number from 0 to 100, not"
NO_GATEWAY = "there is no {} 'payment_gatevay'; did you mean 'payment_gateway'?"
NO_USER = "no user has the primary key or username '{0}'; to record a name that is not a user, "
EMPTY = "the actor is empty: pass a user to --as, or a name to --as-name"
SECONDS = "expected a number of seconds from 0 to 3600, not"
NO_JSON = "CommandError: value: not valid JSON (line 1, column "


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        # Arguments.
        *[
            (f"rollout new_checkout {text}", 2, f"{PERCENT} ")
            for text in ("101", "2.5", "''", "%", "٣", "1_0", "half")
        ],
        ("allow new_checkout", 2, "no users: pass USER or --file"),
        ("allow new_checkout --file missing", 2, "missing"),
        ("off new_checkout dark_mode --expect-version 1", 2, "--expect-version needs one KEY"),
        ("details new_checkout", 2, "pass at least one of --add-tag, --remove-tag, --description"),
        ("details new_checkout --review-on 1.3.2027", 2, "invalid date format"),
        (f"history --limit {'9' * 30}", 1, "expected a whole number of at least 1, not '999"),
        ("history --since soon", 1, 'such as "30m", "1h", "2d"'),
        ("usage --days x", 1, ""),
        *[(f"run-jobs --loop {text}", 1, "--loop") for text in ("0", "-1", "soon", "nan")],
        ("value rules page_size [", 2, "not valid JSON"),
        *[(f"value set page_size {text}", 2, NO_JSON) for text in ("""'{"a": 1'""", "[1,2")],
        ("value set page_size ''", 2, "value: the value is missing"),
        (f"value set page_size {'9' * 5_000}", 2, "value: a number has more than 4,300 digits"),
        (f"value set page_size {'[' * 100_000}", 2, "more than 4,300 digits, or the nesting"),
        ("""value set page_size '{"a": {"b": 1, "b": 2}}'""", 2, "a name twice; remove one"),
        ("explain new_checkout bob --context country", 2, 'such as country=DE, not "country"'),
        ("explain new_checkout bob --context a=1 --context a=2", 2, '"a" is given twice; remove'),
        ("off --wait new_checkout", 1, "not 'new_checkout'"),
        ("off new_checkout --wait -1", 1, f"{SECONDS} '-1'"),
        ("off new_checkout --wait nan", 1, f"{SECONDS} 'nan'"),
        ("off new_checkout --expect two", 1, "a whole number of at least 0, not 'two'"),
        ("kill new_checkout --no-wait --expect 3", 2, "--no-wait cannot be combined with --expect"),
        # The actor.
        ("off new_checkout --as alice --as-name deploy", 1, "not allowed with argument"),
        ("off new_checkout --as Alice", 1, f"{NO_USER.format('Alice')}pass --as-name Alice; did"),
        ("off new_checkout --as 77", 1, f"{NO_USER.format('77')}pass --as-name 77\n"),
        ("off new_checkout --as-name 1", 1, "'1' is the primary key of a user; pass --as, or use"),
        *[(f"off new_checkout {option} ''", 1, EMPTY) for option in ("--as", "--as-name")],
        # What the functions refuse.
        *[
            (f"value set page_size {text}", 4, "refused: ")
            for text in ("null", "NaN", "1e400", r"""'"\u0000"'""")
        ],
        ("unit new_checkout is_staff", 4, "cannot be the bucketing unit, because it is built in"),
        ('details new_checkout --tag a --tag ""', 4, "refused: tags: tag 2 is empty; remove it"),
        ("value rules page_size '[{}]'", 4, "refused: rules: rule 1"),
        ("create dark_mode", 4, "refused: "),
        ("undo new_checkout 987654", 4, "refused: "),
        # A dry run is refused as the change would be.
        ("value set page_size null --dry-run", 4, "refused: "),
        ("allow new_checkout carol --dry-run", 1, "this primary key or username: “carol”."),
        # Names.
        ("explain new_checkout alcie", 1, "primary key or username 'alcie'; did you mean 'alice'?"),
        *[
            (line, 5, NO_FLAG)
            for line in ("show new_chekout", "off new_chekout", "rollout new_chekout 5 --dry-run")
        ],
        ("off new_checkout dark_mod new_chekout", 5, f"did you mean 'dark_mode'?\n{NO_FLAG}"),
        ("explain new_chekout 1", 5, NO_FLAG),
        ("history payment_gatevay --since 1h", 5, NO_GATEWAY.format("flag, value or segment")),
        ("value restore payment_gatevay 1", 5, "'payment_gatevay'"),
        ("value show payment_gatevay", 5, NO_GATEWAY.format("value")),
        ("value set payment_gatevay 1", 5, NO_GATEWAY.format("value")),
        ("segment show enterprize", 5, "is no segment 'enterprize'; did you mean 'enterprise'?"),
        ("export new_chekout", 5, "'new_chekout'; did you mean 'new_checkout'?"),
        ("waiting cancel 987654321", 5, "there is no waiting action '987654321'"),
        # Verbs.
        ("zzz", 1, "there is no verb 'zzz'; --help lists all verbs"),
        ("value shwo page_size", 1, "there is no action 'shwo'; did you mean 'show'?"),
    ],
)
def test_error_has_its_status_and_message_and_writes_nothing(
    line: str, status: int, message: str
) -> None:
    newest = newest_entry()
    ran = run(line)
    assert (ran.status, ran.out) == (status, "")
    assert ran.err.startswith("CommandError: ")
    assert message in ran.err
    assert newest_entry() == newest


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
        ("off new_chekout", 5, NO_FLAG),
        ("kil x", 2, "there is no verb 'kil'; did you mean 'kill'?"),
        ("off", 2, "the following arguments are required: KEY"),
    ],
)
def test_error_is_text_and_with_json_a_line_of_json_on_standard_error(
    line: str,
    status: int,
    message: str,
    run_as_process: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_as_process(*line.split(), "--no-color") == status
    assert message in capsys.readouterr().err
    assert run_as_process(*line.split(), "--json") == status
    out, err = capsys.readouterr()
    assert (out, json.loads(err)) == ("", {"error": {"status": status, "message": message}})
    assert err.count("\n") == 1


def test_error_is_an_exception_of_call_command() -> None:
    with pytest.raises(CommandError, match="there is no flag"):
        call_command("flags", "off", "new_chekout", "--json")


def test_command_without_a_verb_prints_the_help() -> None:
    status, out, err = flags()
    assert (status, err) == (2, "CommandError: no verb: pass one of the verbs above\n")
    assert out.startswith("usage: ")
    assert re.search(r"^ +rollout ", out, re.MULTILINE)
    ran = flags("value")
    required = "CommandError: Error: the following arguments are required: ACTION\n"
    assert (ran.status, ran.err) == (1, required)


def test_help_has_the_verbs_under_the_headings_of_the_documentation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = flags().out
    page = (ROOT / "docs" / "reference" / "commands.md").read_text().partition("\n## Output")[0]
    topics = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert re.findall(r"^([A-Z].+):$", shown, re.MULTILINE) == topics
    listed = re.findall(r"^  ([a-z-]+) ", shown, re.MULTILINE)
    in_page = re.findall(r"^\| `([a-z-]+)", page, re.MULTILINE)
    assert listed[: len(set(in_page))] == list(dict.fromkeys(in_page))
    monkeypatch.setenv("COLUMNS", "60")
    assert all(len(line) <= 60 for line in flags().out.splitlines()[:-1])


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("flagstaff_featureflag", "off new_checkout"),
        ("flagstaff_experiments_experiment", "experiment list"),
        ("flagstaff_rollouts_plan", "plan list"),
        ("flagstaff_webhooks_delivery", "run-jobs"),
    ],
)
def test_missing_table_is_an_error_that_names_migrate(table: str, line: str) -> None:
    rows(f"ALTER TABLE {table} RENAME TO gone")
    refused(line, 1, f'relation "{table}" does not exist; run "manage.py migrate"\n')


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
    refused("off new_checkout", 4, f"CommandError: the database does not allow this: {reason}")


BOM = b"\xef\xbb\xbf"
START = b'{"flagstaff": 1, "flags": {"a": {"description": "'
LARGE, TOO_LARGE = START + "é".encode() * (9 * 2**20), "is larger than 16,777,216 bytes"
UNKNOWN_USER = START + b'", "allowed_users": ["carol"]}, "b": {"rollout_percent": 101}}}'
GONE = b'[{"conditions": [{"segment": "gone"}]}]'


@pytest.mark.parametrize(
    ("line", "content", "status", "message"),
    [
        ("rules new_checkout", b"[", 2, "not valid JSON"),
        ("rules new_checkout", b"\xff", 2, "file.txt is not UTF-8 text"),
        ("rules new_checkout", b'[{"name": "a", "name": "b"}]', 2, "twice"),
        ("rules new_checkout", b"{}", 4, "rules: the rules must be a list, not an object"),
        ("rules new_checkout", GONE, 4, "does not exist"),
        ("allow new_checkout --file", b"a" * 200_000, 2, "users: This text cannot be read."),
        ("import", b'{"a": "bc\xff', 2, "is not UTF-8 text: byte 10 is not valid"),
        *[("import", start + LARGE, 2, TOO_LARGE) for start in (BOM, b"", b" ")],
        ("import", UNKNOWN_USER, 2, "CommandError: nothing was written; 2 problems:"),
    ],
    ids=range(11),
)
def test_file_with_a_mistake_is_refused(
    line: str, content: bytes, status: int, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(content)
    refused(f"{line} {path}", status, message)
