"""`manage.py flags history` and `undo` with --since, --until and --by."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from flagstaff.history import flag_history
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.terminals import Terminal, document, flags, run, typed

# Each command is a transaction of its own, at a time of its own.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("cli_shop", "plain_terminal"),
]


def state() -> tuple[object, ...]:
    new_checkout = FeatureFlag.objects.get(key="new_checkout")
    return (
        new_checkout.rollout_percent,
        FeatureFlag.objects.get(key="dark_mode").enabled,
        KeyValueStore.objects.get(key="page_size").value,
    )


@pytest.fixture
def since() -> str:
    """The time of the first of: alice 25 → 50 %, bob 20 → 50, alice on → off."""
    run("rollout new_checkout 50 --as alice")
    [event] = flag_history("new_checkout", limit=1)
    run("value set page_size 50 --as bob")
    run("off dark_mode --as alice")
    return event.at.isoformat()


def changes(*arguments: str) -> list[tuple[str, str]]:
    return [(event["kind"], event["key"]) for event in document("history", *arguments)]


def test_history_since_a_time_has_flags_and_values(since: str) -> None:
    assert changes("--since", since) == [
        ("flag", "dark_mode"),
        ("value", "page_size"),
        ("flag", "new_checkout"),
    ]


def test_history_until_a_time_leaves_out_that_time(since: str) -> None:
    found = document("history", "--until", since, "--limit", "50")
    assert max(event["at"] for event in found) < since
    assert changes("new_checkout", "--since", since, "--until", since) == []


@pytest.mark.parametrize("name", ["alice", "1"])
def test_history_by_a_person_takes_a_username_or_a_primary_key(name: str, since: str) -> None:
    assert changes("--by", name) == [("flag", "dark_mode"), ("flag", "new_checkout")]
    assert changes("--by", name, "--value") == []


def test_history_by_an_unknown_actor_suggests_a_similar_one(since: str) -> None:
    ran = run("history --by alcie")
    assert (ran.status, ran.out) == (0, "")
    assert ran.err.splitlines() == [
        "no user has the primary key or username 'alcie'; did you mean 'alice'?",
        "no matching entries",
    ]


def test_history_of_several_keys_is_merged(since: str) -> None:
    assert changes("new_checkout", "page_size", "--since", since) == [
        ("value", "page_size"),
        ("flag", "new_checkout"),
    ]
    assert flags("history", "new_checkout", "page_sise").status == 5


def test_history_of_an_unknown_key_is_an_error_also_with_filters(since: str) -> None:
    assert run("history new_chekout --since 1h").status == 5
    assert run("history search_v2 --by alice").err == "no matching entries\n"
    run("delete search_v2 --yes")
    assert changes("search_v2", "--since", since) == [("flag", "search_v2")]


def test_history_on_a_terminal_says_that_there_is_more(since: str) -> None:
    shown = typed("flags history --limit 1")
    [event] = document("history", "--limit", "1")
    assert shown.endswith(f"older events: --before {event['version']}, or a larger --limit\n")
    assert "older events" not in typed(f"flags history --since {since}")


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_history_refuses_a_text_that_is_no_time(option: str) -> None:
    assert 'such as "30m", "1h", "2d"' in run(f"history {option} soon").err


# undo --since.


def test_undo_since_takes_back_all_changes_of_a_person(since: str) -> None:
    ran = run(f"undo --since {since} --by alice --yes")
    assert ran.status == 0
    assert ran.err.splitlines()[:2] == [
        "dark_mode: enabled false → true",
        "new_checkout: rollout_percent 50 → 25",
    ]
    assert state() == (25, True, 50)
    [undo] = [line for line in ran.err.splitlines() if line.startswith("undo: ")]
    assert run(undo.removeprefix("undo: manage.py flags ")).status == 0
    assert state() == (50, False, 50)


def test_undo_since_without_a_person_takes_back_all(since: str) -> None:
    assert run(f"undo --since {since} --yes").status == 0
    assert state() == (25, True, 20)


def test_undo_since_of_a_key_or_a_kind_leaves_the_others(since: str) -> None:
    assert run(f"undo new_checkout --since {since} --yes").status == 0
    assert run(f"undo --since {since} --value --yes").status == 0
    assert state() == (25, False, 20)


def test_undo_since_with_dry_run_writes_nothing(since: str) -> None:
    ran = run(f"undo --since {since} --by alice --dry-run")
    assert ran.status == 0
    assert ran.err.splitlines() == [
        "dark_mode: enabled false → true",
        "new_checkout: rollout_percent 50 → 25",
        "dry run: nothing was written",
    ]
    assert state() == (50, False, 50)


def test_undo_since_without_a_terminal_needs_yes(since: str) -> None:
    ran = run(f"undo --since {since}")
    assert (ran.status, state()) == (2, (50, False, 50))
    assert ran.err.endswith("CommandError: not a terminal: pass --yes to confirm\n")


def test_undo_since_asks_after_the_list(since: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    monkeypatch.setattr("builtins.input", lambda: "n")
    ran = run(f"undo --since {since} --by alice")
    assert (ran.status, state()) == (2, (50, False, 50))
    assert ran.err.splitlines() == [
        "dark_mode: enabled false → true",
        "new_checkout: rollout_percent 50 → 25",
        "Undo 2 changes of 2 keys? [y/N]",
        "CommandError: cancelled; nothing was changed",
    ]


def test_undo_since_with_a_conflict_is_refused_and_names_it(since: str) -> None:
    run("rollout new_checkout 60 --as bob")
    before = state()
    ran = run(f"undo --since {since} --by alice --yes")
    assert (ran.status, state()) == (4, before)
    assert "refused: new_checkout has version" in ran.err
    assert "rollout_percent 50 → 60" in ran.err


def test_undo_since_can_skip_conflicts(since: str) -> None:
    run("rollout new_checkout 60 --as bob")
    ran = run(f"undo --since {since} --by alice --yes --skip-conflicts --json")
    found = json.loads(ran.out)
    assert (ran.status, state()) == (0, (60, True, 50))
    assert [one["key"] for one in found["changes"]] == ["dark_mode"]
    assert [one["key"] for one in found["conflicts"]] == ["new_checkout"]
    assert "conflict: new_checkout has version" in ran.err


def test_undo_since_without_changes_is_a_no_op(since: str) -> None:
    ran = run("undo --since 2126-01-01 --yes --json")
    assert (ran.status, json.loads(ran.out)["changes"]) == (0, [])
    assert ran.err == "no matching changes\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("undo --by alice", "--until and --by need --since TIME"),
        ("undo new_checkout 5 --since 1h", "--since cannot be combined with VERSION"),
        ("undo --transaction 5 --since 1h", "--transaction cannot be combined with"),
        ("undo", "pass KEY, --since TIME or --transaction VERSION"),
    ],
)
def test_undo_refuses_arguments_that_do_not_fit(line: str, message: str) -> None:
    ran = run(line)
    assert (ran.status, message in ran.err) == (2, True)


def test_events_have_times_that_since_accepts(since: str) -> None:
    [newest] = document("history", "--limit", "1")
    assert datetime.fromisoformat(newest["at"]) >= datetime.fromisoformat(since)
    assert changes("--since", newest["at"]) == [(newest["kind"], newest["key"])]
