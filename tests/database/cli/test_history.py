"""`manage.py flags history`, `undo`, `restore` and `forget-user`.

tests/database/history and tests/database/changes test which entries are found and undone.
"""

import csv
import io
import json

import pytest
from django.contrib.auth.models import User

from flagstaff import changes
from flagstaff.history import flag_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.history import flag_history
from tests.support.history_fixtures import role_that_reads
from tests.support.plans import rollout
from tests.support.terminals import document, run, table_rows, typed, undo_of

# Each command is a transaction of its own, at a time of its own.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("open_shop", "plain_terminal"),
]


@pytest.fixture
def since() -> str:
    """The time of the first of: alice 25 → 50 %, bob 20 → 50, alice on → off."""
    run("rollout new_checkout 50 --as alice --reason 'ticket 7'")
    event = flag_history("new_checkout")[0]
    run("value set page_size 50 --as bob")
    run("off dark_mode --as alice")
    return event.at.isoformat()


def state() -> tuple[object, ...]:
    dark_mode = FeatureFlag.objects.get(key="dark_mode")
    return rollout(), dark_mode.enabled, KeyValueStore.objects.get(key="page_size").value


def test_history_has_change_actor_source_and_reason_also_as_json_and_csv(since: str) -> None:
    run("allow new_checkout bob --as alice")
    lines = table_rows(run("history new_checkout").out)
    assert [line[2:] for line in lines[:2]] == [
        ["flag", "new_checkout", "added 1 allowed user", "alice", "command", ""],
        ["flag", "new_checkout", "rollout 25 → 50 %", "alice", "command", "ticket 7"],
    ]
    [newest, *_] = document("history", "new_checkout")
    assert (newest["actor"], newest["added"]) == ("1", {"count": 1, "pks": [2]})
    [row, *_] = csv.DictReader(io.StringIO(run("history new_checkout --csv").out))
    assert (row["version"], row["key"]) == (str(newest["version"]), "new_checkout")


@pytest.mark.parametrize(
    "command",
    [
        "allow new_checkout bob",
        "unit new_checkout visitor",
        "create new_search --owner payments --review-on 2027-03-01",
        """value set page_size '{"max": 5, "hosts": ["a"]}'""",
        """value create token '"hunter2"' --secret --choices '["hunter2"]'""",
    ],
)
def test_verb_prints_its_change_as_the_history_does(command: str) -> None:
    ran = run(command)
    [[_version, _at, _kind, key, change, *_others]] = table_rows(run("history --limit 1").out)
    # The verb also names the users.
    assert f"{key}: {change}" in [line.partition(" (")[0] for line in ran.err.splitlines()]


NEW_CHECKOUT, PAGE_SIZE = ("flag", "new_checkout"), ("value", "page_size")
DARK_MODE = ("flag", "dark_mode")


@pytest.mark.parametrize(
    ("options", "events"),
    [
        ("--limit 3", [DARK_MODE, PAGE_SIZE, NEW_CHECKOUT]),
        ("--since {since}", [DARK_MODE, PAGE_SIZE, NEW_CHECKOUT]),
        ("--since {since} --value", [PAGE_SIZE]),
        ("--since {since} --segment", []),
        ("--by alice", [DARK_MODE, NEW_CHECKOUT]),
        ("--by 1", [DARK_MODE, NEW_CHECKOUT]),
        ("--by alice --value", []),
        ("new_checkout --since {since} --until {since}", []),
        ("new_checkout page_size --limit 2", [PAGE_SIZE, NEW_CHECKOUT]),
        ("search_v2 --by alice", []),
    ],
)
def test_history_has_the_events_that_its_options_select(
    options: str, events: list[tuple[str, str]], since: str
) -> None:
    line = f"history {options.format(since=since)}"
    printed = document(*line.split())
    assert [(event["kind"], event["key"]) for event in printed] == events
    assert run(line).err == ("" if events else "no matching entries\n")


def test_history_on_a_terminal_says_how_to_see_older_events(since: str) -> None:
    older = "for older events, pass --until TIME or a larger --limit\n"
    assert typed("flags history --limit 1").endswith(older)
    assert "older events" not in typed(f"flags history --since {since}")


def test_history_leaves_out_what_the_role_may_not_read() -> None:
    tables = ("flagstaff_featureflag", "flagstaff_featureflag_allowed_users", "flagstaff_change")
    left_out = "{} are left out: this database user may not read them\n"
    with role_that_reads(*tables, "flagstaff_segment", "auth_user"):
        for line in ("history", "history new_checkout"):
            ran = run(line)
            assert (ran.status, ran.err) == (0, left_out.format("values"))
            assert "new_checkout" in ran.out
        unknown = run("history new_chekout").err
    assert "no flag, value or segment 'new_chekout'; did you mean 'new_checkout'?" in unknown
    with role_that_reads(*tables, "auth_user"):
        ran = run("history new_checkout")
    assert (ran.status, left_out.format("segments") in ran.err) == (0, True)


@pytest.mark.parametrize("pk", ["1", "01"])
def test_forget_user_removes_the_user_from_the_history(pk: str) -> None:
    run("off new_checkout --as alice")
    User.objects.get(username="alice").delete()
    assert "removed user" in run(f"forget-user {pk} --yes").err
    assert "1" not in Change.objects.values_list("actor", flat=True)


BY_ALICE = ["dark_mode: turned on", "new_checkout: rollout 50 → 25 %"]


@pytest.mark.parametrize(
    ("options", "after", "printed"),
    [
        ("{since} --by alice", (25, True, 50), BY_ALICE),
        ("{since}", (25, True, 20), [BY_ALICE[0], "page_size: value 50 → 20", BY_ALICE[1]]),
        ("{since} new_checkout", (25, False, 50), BY_ALICE[1:]),
        ("{since} --value", (50, False, 20), ["page_size: value 50 → 20"]),
        ("2126-01-01", (50, False, 50), ["no matching changes"]),
    ],
)
def test_undo_since_prints_and_undoes_what_its_options_select(
    options: str, after: tuple[object, ...], printed: list[str], since: str
) -> None:
    line = f"undo-since {options.format(since=since)} --yes"
    before = state()
    ran = run(f"{line} --dry-run")
    assert (ran.status, state()) == (0, before)
    assert ran.err.splitlines()[: len(printed)] == printed
    ran = run(line)
    assert (ran.status, state()) == (0, after)
    assert ran.err.splitlines()[: len(printed)] == printed
    if after != before:
        assert run(undo_of(ran.err)).status == 0
    assert state() == before


def test_undo_since_with_a_conflict_is_refused_unless_it_is_skipped(since: str) -> None:
    run("rollout new_checkout 60 --as bob")
    before = state()
    line = f"undo-since {since} --by alice --yes"
    ran = run(line)
    assert (ran.status, state()) == (4, before)
    why = "new_checkout: rollout was changed again and is 60 % now"
    assert f"refused: {why}" in ran.err
    ran = run(f"{line} --skip-conflicts --json")
    printed = json.loads(ran.out)
    assert (ran.status, state()) == (0, (60, True, 50))
    assert [change["key"] for change in printed["changes"]] == ["dark_mode"]
    assert [conflict["key"] for conflict in printed["conflicts"]] == ["new_checkout"]
    assert f"conflict: {why}" in ran.err


def test_undo_and_restore_print_what_they_changed_and_whom_they_left_out() -> None:
    version = flag_version("new_checkout")
    changes.flags.set_rollout("new_checkout", 50)
    assert run("undo new_checkout").err.startswith("new_checkout: rollout 50 → 25 %\n")
    run("disallow new_checkout alice")
    run("rollout new_checkout 75")
    restore = f"restore new_checkout {version}"
    text = "new_checkout: rollout 75 → 25 %, added 1 allowed user (alice)\n"
    assert run(restore).err.startswith(text)
    assert run(restore).err.startswith("new_checkout: already up to date\n")
    User.objects.get(username="alice").delete()
    assert "skipped users that do not exist: 1" in run(restore).err
    change = changes.flags.set_rollout("new_checkout", 50).version
    changes.flags.update("new_checkout", {"key": "checkout"})
    # The former key is no other key.
    assert "the same transaction also changed" not in run(f"undo checkout {change}").err
