"""`manage.py flags`: --as, --reason, --expect-version and --yes of the verbs that write."""

from __future__ import annotations

import sys
from io import StringIO

import pytest

from flagstaff import acting_as
from flagstaff.changes import set_rollout
from flagstaff.cli.main import VERBS
from flagstaff.history import flag_history, flag_version
from flagstaff.models import Change
from tests.support.terminals import Terminal, run, typed

# Each change is a transaction of its own.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cli_shop")]


WRITING = {
    "on summer_banner": "summer_banner",
    "off new_checkout": "new_checkout",
    "kill new_checkout": "new_checkout",
    "rollout new_checkout 50": "new_checkout",
    "allow new_checkout bob": "new_checkout",
    "allow new_checkout alice --remove": "new_checkout",
    "update new_checkout --bucket-by visitor": "new_checkout",
    "delete new_checkout --yes": "new_checkout",
}


@pytest.mark.parametrize(("line", "key"), WRITING.items())
def test_verb_that_writes_accepts_actor_reason_and_version(line: str, key: str) -> None:
    version = flag_version(key)
    refused = run(f"{line} --expect-version 1")
    assert refused.status == 4
    assert (
        f"CommandError: refused: {key} has version {version}, but version 1 was expected; "
        "changes after version 1:"
    ) in refused.err
    assert flag_version(key) == version
    ran = run(f'{line} --expect-version {version} --as bob --reason "ticket 7"')
    assert ran.status == 0, ran.err
    event = flag_history(key)[0]
    assert (event.actor, event.source, event.reason) == ("2", "command", "ticket 7")


def test_control_characters_of_an_actor_are_replaced_in_a_refusal() -> None:
    version = flag_version("dark_mode")
    with acting_as("\x1b[2Jbob\nflags: all is well"):
        set_rollout("dark_mode", 3)
    [message] = run(f"rollout dark_mode 5 --expect-version {version}").err.splitlines()
    assert f"changes after version {version}: \ufffd[2Jbob flags: all is well at" in message


@pytest.mark.parametrize("name", ["alice", "1", "01"])
def test_actor_is_the_primary_key_of_a_user_that_exists(name: str) -> None:
    run(f"off new_checkout --as {name}")
    assert flag_history("new_checkout")[0].actor == "1"


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("alcie", "; did you mean 'alice'?"),
        ("deploy", ""),
        ("77", ""),
        ("Alice", "; did you mean 'alice'?"),
    ],
)
def test_actor_that_is_not_a_user_is_refused(name: str, guess: str) -> None:
    ran = run(f"off new_checkout --as {name}")
    assert (ran.status, ran.err) == (
        1,
        (
            f"CommandError: no user has the primary key or username '{name}'; "
            f"to record a name that is not a user, pass --as-name {name}{guess}\n"
        ),
    )
    assert run("show new_checkout").out.count("enabled\ttrue") == 1


def test_actor_may_be_a_name_that_is_not_a_user() -> None:
    run("off new_checkout --as-name 'deploy 42'")
    assert flag_history("new_checkout")[0].actor == "deploy 42"


def test_name_that_is_the_primary_key_of_a_user_is_refused() -> None:
    ran = run("off new_checkout --as-name 1")
    assert (ran.status, ran.err) == (
        1,
        "CommandError: '1' is the primary key of a user; pass --as, or use another name\n",
    )


def test_user_and_name_together_are_refused() -> None:
    ran = run("off new_checkout --as alice --as-name deploy")
    assert ran.status != 0
    assert "not allowed with argument" in ran.err


def test_source_is_the_command_in_a_pipe_without_an_actor() -> None:
    run("off new_checkout")
    event = flag_history("new_checkout")[0]
    assert (event.actor, event.source, event.reason) == (None, "command", None)


@pytest.mark.parametrize(
    ("variables", "user"), [({"LOGNAME": "ana"}, "ana"), ({"SUDO_USER": "bea"}, "bea")]
)
def test_source_contains_the_user_of_the_shell_on_a_terminal(
    variables: dict[str, str], user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv("LOGNAME", "root")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    typed("flags off new_checkout")
    event = flag_history("new_checkout")[0]
    assert (event.actor, event.source) == (None, f"command ({user})")


@pytest.mark.parametrize(
    ("name", "source"),
    [("J\udcfcrg", "command (J\ufffdrg)"), ("a" * 300, f"command ({'a' * 100})")],
)
def test_flag_can_be_killed_by_a_shell_user_with_an_odd_name(
    name: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", name)
    typed("flags kill new_checkout")
    assert flag_history("new_checkout")[0].source == source


@pytest.mark.parametrize("option", ["--as", "--as-name"])
def test_empty_actor_is_refused(option: str) -> None:
    assert run(f"off new_checkout {option} ''") == (
        1,
        "",
        "CommandError: the actor is empty: pass a user to --as, or a name to --as-name\n",
    )


def test_source_does_not_contain_the_user_of_the_shell_with_an_actor() -> None:
    typed("flags off new_checkout --as alice")
    event = flag_history("new_checkout")[0]
    assert (event.actor, event.source) == ("1", "command")


def test_user_of_the_shell_that_has_no_name_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr("getpass.getuser", refuse)
    typed("flags off new_checkout")
    assert flag_history("new_checkout")[0].source == "command"


def test_every_verb_that_writes_is_tested() -> None:
    tested_here = {line.split()[0] for line in WRITING}
    tested_elsewhere = {
        *("create", "undo", "restore", "forget-user", "value", "import", "run-jobs"),
        *("segment", "set-rules"),
    }
    reading = {
        *("list", "show", "explain", "test", "impact", "history", "watch", "export"),
        *("usage", "unknown", "status", "workers", "reader-role"),
    }
    assert tested_here | tested_elsewhere | reading == {verb.name for verb in VERBS}


@pytest.mark.parametrize("line", ["delete new_checkout", "value delete page_size", "forget-user 1"])
def test_deleting_verb_asks_for_confirmation(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Change.objects.count()
    refused = run(line)
    assert (refused.status, refused.err) == (
        2,
        "CommandError: not a terminal: pass --yes to confirm\n",
    )
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda: "n")
    assert "CommandError: cancelled; nothing was changed" in run(line).err
    assert Change.objects.count() == before
    monkeypatch.setattr("builtins.input", lambda: "y")
    assert run(line).status == 0


def test_end_of_input_at_the_question_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Change.objects.count()
    monkeypatch.setattr("sys.stdin", Terminal(""))
    ran = run("delete new_checkout")
    assert (ran.status, ran.err.splitlines()[1:]) == (
        2,
        ["CommandError: cancelled; nothing was changed"],
    )
    assert Change.objects.count() == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("delete new_checkout", "not a terminal: pass --yes to confirm"),
        ("value set page_size -", "standard input is closed: redirect a file to it"),
        ("allow new_checkout --file -", "standard input is closed: redirect a file to it"),
        ("import -", "standard input is closed: redirect a file to it"),
    ],
)
@pytest.mark.parametrize("is_missing", [True, False], ids=["missing", "closed"])
def test_closed_standard_input_is_an_error_in_one_line(
    line: str, message: str, is_missing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = StringIO()
    stdin.close()
    monkeypatch.setattr("sys.stdin", None if is_missing else stdin)
    ran = run(line)
    assert (ran.status, ran.err) == (2, f"CommandError: {message}\n")
