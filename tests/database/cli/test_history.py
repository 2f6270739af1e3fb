"""`manage.py flags history`, `undo`, `restore` and `forget-user`."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flagstaff import changes
from flagstaff.history import flag_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.history import flag_history
from tests.support.history_fixtures import role_that_reads
from tests.support.terminals import asked, document, run, typed, undo_of

# Each command is a transaction of its own, at a time of its own.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("cli_shop", "plain_terminal"),
]


@pytest.fixture
def since() -> str:
    """The time of the first of: alice 25 → 50 %, bob 20 → 50, alice on → off."""
    run("rollout new_checkout 50 --as alice")
    [event] = flag_history("new_checkout")[:1]
    run("value set page_size 50 --as bob")
    run("off dark_mode --as alice")
    return event.at.isoformat()


def state() -> tuple[object, ...]:
    new_checkout = FeatureFlag.objects.get(key="new_checkout")
    return (
        new_checkout.rollout_percent,
        FeatureFlag.objects.get(key="dark_mode").enabled,
        KeyValueStore.objects.get(key="page_size").value,
    )


def listed(*arguments: str) -> list[tuple[str, str]]:
    return [(event["kind"], event["key"]) for event in document("history", *arguments)]


def test_history_prints_change_actor_source_and_reason() -> None:
    run("rollout new_checkout 50 --as alice --reason 'ticket 7'")
    run("allow new_checkout bob")
    lines = [line.split("\t") for line in run("history new_checkout").out.splitlines()]
    assert [line[2:] for line in lines[:2]] == [
        ["flag", "new_checkout", "added 1 allowed user", "postgres (database user)", "command", ""],
        ["flag", "new_checkout", "rollout 25 → 50 %", "alice", "command", "ticket 7"],
    ]
    shown = typed("flags history new_checkout --limit 1")
    assert shown.startswith("VERSION")
    assert re.search(r" \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC +flag  new_checkout\b", shown)


@pytest.mark.parametrize(
    "command",
    [
        "off new_checkout",
        "allow new_checkout bob",
        "unit new_checkout visitor",
        "details new_checkout --kind ops --description Checkout",
        "create new_search --owner payments --review-on 2027-03-01",
        "delete beta_reviews --yes",
        """value set page_size '{"max": 5, "hosts": ["a"]}'""",
        "value create limit 0 --type integer --choices '[0, 5]'",
        """value create token '"hunter2"' --secret --choices '["hunter2"]'""",
    ],
)
def test_verb_prints_its_change_as_the_history_does(command: str) -> None:
    ran = run(command)
    [line] = run("history --limit 1").out.splitlines()
    key, change = line.split("\t")[3:5]
    # The verb also names the users.
    assert f"{key}: {change}" in [line.partition(" (")[0] for line in ran.err.splitlines()]


TABLES = ("flagstaff_featureflag", "flagstaff_featureflag_allowed_users", "flagstaff_change")


def test_history_leaves_out_what_the_role_may_not_read() -> None:
    left_out = "{} are left out: this database user may not read them\n"
    with role_that_reads(*TABLES, "flagstaff_segment", "auth_user"):
        for line in ("history", "history new_checkout"):
            ran = run(line)
            assert (ran.status, ran.err) == (0, left_out.format("values"))
            assert "new_checkout" in ran.out
        unknown = run("history new_chekout").err
    assert "no flag, value or segment 'new_chekout'; did you mean 'new_checkout'?" in unknown
    with role_that_reads(*TABLES, "auth_user"):
        ran = run("history new_checkout")
    assert (ran.status, left_out.format("segments") in ran.err) == (0, True)


def test_history_as_json_and_csv_is_complete() -> None:
    run("allow new_checkout bob --as alice")
    [newest, *_] = document("history", "new_checkout")
    assert (newest["actor"], newest["added"]) == ("1", {"count": 1, "pks": [2]})
    [row, *_] = csv.DictReader(io.StringIO(run("history new_checkout --csv").out))
    assert (row["version"], row["key"]) == (str(newest["version"]), "new_checkout")


def test_history_shows_flags_and_values_newest_first(since: str) -> None:
    shown = [line.split("\t")[2:4] for line in run("history --limit 3").out.splitlines()]
    assert shown == [["flag", "dark_mode"], ["value", "page_size"], ["flag", "new_checkout"]]
    [newest] = document("history", "--limit", "1")
    version = str(newest["version"])
    assert listed("--before", version, "--limit", "1") == [("value", "page_size")]
    screen = typed("flags history --limit 1")
    assert screen.endswith(f"older events: --before {version}, or a larger --limit\n")
    assert "older events" not in typed(f"flags history --since {since}")


def test_history_of_a_key_shows_the_flag_and_the_value_of_this_key() -> None:
    # As SQL can: a new value with the key of a flag is refused.
    KeyValueStore.objects.create(key="new_checkout", value=5)
    kinds = [kind for kind, _key in listed("new_checkout")]
    assert (kinds[0], set(kinds[1:])) == ("value", {"flag"})
    assert listed("new_checkout", "--value") == [("value", "new_checkout")]
    several = listed("new_checkout", "page_size", "--limit", "2")
    assert several == [("value", "new_checkout"), ("value", "page_size")]
    assert run("history new_checkout page_sise").status == 5


def test_prune_deletes_old_entries() -> None:
    changes.flags.set_rollout("new_checkout", 50)
    Change.objects.update(at=timezone.now() - timedelta(days=100))
    count = Change.objects.count()
    assert run("history --prune --older-than 365 --yes").err == "deleted 0 history entries\n"
    run("history --prune --older-than 90d --yes")
    assert 0 < Change.objects.count() < count
    for line in ("history --prune --yes", "history new_checkout --prune --older-than 9 --yes"):
        assert run(line).status == 2


@pytest.mark.parametrize("pk", ["1", "01"])
def test_forget_user_removes_the_user_from_the_history(pk: str) -> None:
    run("off new_checkout --as alice")
    User.objects.get(username="alice").delete()
    assert "removed user" in run(f"forget-user {pk} --yes").err
    assert "1" not in Change.objects.values_list("actor", flat=True)


def test_history_since_a_time_has_that_time_and_until_has_not(since: str) -> None:
    newer = [("flag", "dark_mode"), ("value", "page_size"), ("flag", "new_checkout")]
    assert listed("--since", since) == newer
    found = document("history", "--until", since, "--limit", "50")
    assert max(event["at"] for event in found) < since
    assert listed("new_checkout", "--since", since, "--until", since) == []
    for option in ("--since", "--until"):
        assert 'such as "30m", "1h", "2d"' in run(f"history {option} soon").err


@pytest.mark.parametrize("name", ["alice", "1"])
def test_history_by_a_person_takes_a_username_or_a_primary_key(name: str, since: str) -> None:
    assert listed("--by", name) == [("flag", "dark_mode"), ("flag", "new_checkout")]
    assert listed("--by", name, "--value") == []


def test_history_of_an_unknown_key_is_an_error_also_with_filters(since: str) -> None:
    message = "CommandError: there is no flag, value or segment 'payment_gatewy'; did you mean"
    for line in ("history payment_gatewy", "history payment_gatewy --since 1h"):
        assert run(line) == (5, "", f"{message} 'payment_gateway'?\n")
    assert run("history search_v2 --by alice").err == "no matching entries\n"
    run("delete search_v2 --yes")
    assert listed("search_v2", "--since", since) == [("flag", "search_v2")]
    Change.objects.all().delete()
    assert run("history new_checkout") == (0, "", "no matching entries\n")


KEEPS = "new_checkout: 50 → 25 %: No user gains or loses the flag. Afterwards 1 of 2 users have it."
TO_BOTH = (
    "dark_mode: 2 users gain the flag. Afterwards 2 of 2 users have it. Everybody who is not "
    "logged in gains the flag."
)
BY_ALICE = ["dark_mode: turned on", "new_checkout: rollout 50 → 25 %"]


def test_undo_since_takes_back_all_changes_of_a_person(since: str) -> None:
    ran = run(f"undo-since {since} --by alice --dry-run")
    assert (ran.status, state()) == (0, (50, False, 50))
    assert ran.err.splitlines() == [*BY_ALICE, "dry run: nothing was written"]
    ran = run(f"undo-since {since} --by alice --yes")
    assert (ran.status, state()) == (0, (25, True, 50))
    assert ran.err.splitlines()[:2] == BY_ALICE
    assert run(undo_of(ran.err)).status == 0
    assert state() == (50, False, 50)


def test_undo_since_of_a_key_or_a_kind_leaves_the_others(since: str) -> None:
    assert run(f"undo-since {since} new_checkout --yes").status == 0
    assert run(f"undo-since {since} --value --yes").status == 0
    assert state() == (25, False, 20)
    ran = run("undo-since 2126-01-01 --yes --json")
    assert (ran.status, json.loads(ran.out)["changes"]) == (0, [])
    assert ran.err == "no matching changes\n"


def test_undo_since_of_everything_asks_after_the_list(since: str) -> None:
    ran = run(f"undo-since {since}")
    assert (ran.status, state()) == (2, (50, False, 50))
    assert ran.err.endswith("CommandError: not a terminal: pass --yes to confirm\n")
    ran = asked(f"undo-since {since} --by alice", "n")
    assert (ran.status, state()) == (2, (50, False, 50))
    question = f"{KEEPS} Undo 2 changes of 2 keys? [y/N]"
    assert ran.err.splitlines()[:4] == [*BY_ALICE, TO_BOTH, question]
    assert asked(f"undo-since {since}", "y").status == 0
    assert state() == (25, True, 20)


def test_undo_since_with_a_conflict_is_refused_unless_it_is_skipped(since: str) -> None:
    run("rollout new_checkout 60 --as bob")
    before = state()
    ran = run(f"undo-since {since} --by alice --yes")
    assert (ran.status, state()) == (4, before)
    why = "new_checkout: rollout was changed again and is 60 % now"
    assert f"refused: {why}" in ran.err
    ran = run(f"undo-since {since} --by alice --yes --skip-conflicts --json")
    found = json.loads(ran.out)
    assert (ran.status, state()) == (0, (60, True, 50))
    assert [one["key"] for one in found["changes"]] == ["dark_mode"]
    assert [one["key"] for one in found["conflicts"]] == ["new_checkout"]
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
    assert (run("undo new_checkout 987654").status, run("restore nothing 1").status) == (4, 5)
    run("value set page_size 50")
    assert run("value undo page_size").err.startswith("page_size: value 50 → 20\n")
    assert KeyValueStore.objects.get(key="page_size").value == 20
