"""`manage.py flags`: --as, --reason, --expect-version and --yes of the verbs that write."""

from __future__ import annotations

from io import StringIO

import pytest

from flagstaff import acting_as, changes
from flagstaff.history import flag_version
from flagstaff.models import Change
from tests.support.history import flag_history
from tests.support.terminals import Terminal, run, typed

# Each change is a transaction of its own.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cli_shop")]


WRITING = [
    "on summer_banner",
    "off new_checkout",
    "kill new_checkout",
    "rollout new_checkout 50",
    "allow new_checkout bob",
    "disallow new_checkout alice",
    "unit new_checkout visitor",
    "delete new_checkout --yes",
]


@pytest.mark.parametrize("line", WRITING)
def test_verb_that_writes_accepts_actor_reason_and_version(line: str) -> None:
    key = line.split()[1]
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
        changes.flags.set_rollout("dark_mode", 3)
    [message] = run(f"rollout dark_mode 5 --expect-version {version}").err.splitlines()
    assert f"changes after version {version}: \ufffd[2Jbob flags: all is well at" in message


@pytest.mark.parametrize(
    ("option", "actor"),
    [
        *[("--as alice", "1"), ("--as 1", "1"), ("--as 01", "1")],
        ("--as-name 'deploy 42'", "deploy 42"),
    ],
)
def test_actor_is_the_primary_key_of_a_user_or_a_name(option: str, actor: str) -> None:
    run(f"off new_checkout {option}")
    assert flag_history("new_checkout")[0].actor == actor


NO_USER = (
    "no user has the primary key or username '{0}'; "
    "to record a name that is not a user, pass --as-name {0}"
)
EMPTY = "the actor is empty: pass a user to --as, or a name to --as-name"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--as alcie", f"{NO_USER.format('alcie')}; did you mean 'alice'?"),
        ("--as Alice", f"{NO_USER.format('Alice')}; did you mean 'alice'?"),
        ("--as deploy", NO_USER.format("deploy")),
        ("--as 77", NO_USER.format("77")),
        ("--as-name 1", "'1' is the primary key of a user; pass --as, or use another name"),
        ("--as ''", EMPTY),
        ("--as-name ''", EMPTY),
    ],
)
def test_unusable_actor_is_refused(option: str, message: str) -> None:
    assert run(f"off new_checkout {option}") == (1, "", f"CommandError: {message}\n")
    assert "enabled\ttrue" in run("show new_checkout").out


def test_user_and_name_together_are_refused() -> None:
    assert "not allowed with argument" in run("off new_checkout --as alice --as-name deploy").err


def test_source_is_the_command_in_a_pipe_and_with_an_actor() -> None:
    run("off new_checkout")
    typed("flags on new_checkout --as alice")
    events = flag_history("new_checkout")[:2]
    assert [(one.actor, one.source, one.reason) for one in events] == [
        ("1", "command", None),
        (None, "command", None),
    ]


@pytest.mark.parametrize(
    ("variable", "user", "shown"),
    [
        ("LOGNAME", "ana", "ana"),
        ("SUDO_USER", "bea", "bea"),
        ("SUDO_USER", "J\udcfcrg", "J\ufffdrg"),
        ("SUDO_USER", "a" * 300, "a" * 100),
    ],
)
def test_source_contains_the_user_of_the_shell_on_a_terminal(
    variable: str, user: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv("LOGNAME", "root")
    monkeypatch.setenv(variable, user)
    typed("flags kill new_checkout")
    event = flag_history("new_checkout")[0]
    assert (event.actor, event.source) == (None, f"command ({shown})")


def test_user_of_the_shell_that_has_no_name_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr("getpass.getuser", refuse)
    typed("flags off new_checkout")
    assert flag_history("new_checkout")[0].source == "command"


@pytest.mark.parametrize("line", ["delete new_checkout", "value delete page_size", "forget-user 1"])
def test_deleting_verb_asks_for_confirmation(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Change.objects.count()
    refused = run(line)
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.endswith("CommandError: not a terminal: pass --yes to confirm\n")
    # The empty input ends at the question.
    monkeypatch.setattr("sys.stdin", Terminal(""))
    ran = run(line)
    assert ran.status == 2
    assert ran.err.endswith("[y/N]\nCommandError: cancelled; nothing was changed\n")
    monkeypatch.setattr("builtins.input", lambda: "n")
    assert "CommandError: cancelled; nothing was changed" in run(line).err
    assert Change.objects.count() == before
    monkeypatch.setattr("builtins.input", lambda: "y")
    assert run(line).status == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("value delete page_size", "not a terminal: pass --yes to confirm"),
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
    assert run(line) == (2, "", f"CommandError: {message}\n")
