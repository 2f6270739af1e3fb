"""`manage.py flags off a b`: several keys in one transaction."""

from __future__ import annotations

import pytest

from flagstaff.models import Change, FeatureFlag
from tests.support.terminals import Terminal, document, flags, rows, run, typed

# Each command is a transaction of its own.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("cli_shop", "plain_terminal"),
]


def enabled() -> set[str]:
    return set(FeatureFlag.objects.filter(enabled=True).values_list("key", flat=True))


def test_off_of_several_flags_is_one_transaction_with_one_undo() -> None:
    before, newest = enabled(), Change.objects.order_by("-id").values_list("id", flat=True)[0]
    printed = run("off new_checkout dark_mode").err.splitlines()
    assert printed[:4] == [
        "new_checkout: enabled true → false",
        "new_checkout: Off for all users.",
        "dark_mode: enabled true → false",
        "dark_mode: Off for all users.",
    ]
    written = Change.objects.filter(id__gt=newest)
    assert len(set(written.values_list("transaction_id", flat=True))) == 1
    assert enabled() == before - {"new_checkout", "dark_mode"}
    assert run(printed[4].removeprefix("undo: manage.py flags ")).status == 0
    assert enabled() == before


def test_unknown_keys_are_named_together_before_anything_is_written() -> None:
    before = enabled()
    status, _, err = flags("off", "new_checkout", "dark_mod", "new_chekout")
    assert status == 5
    assert err.splitlines() == [
        "CommandError: there is no flag 'dark_mod'; did you mean 'dark_mode'?",
        "there is no flag 'new_chekout'; did you mean 'new_checkout'?",
    ]
    assert enabled() == before
    assert flags("show", "dark_mod", "new_chekout").err == err


def test_repeated_key_is_changed_once() -> None:
    assert run("off dark_mode dark_mode").err.splitlines()[0] == "dark_mode: enabled true → false"


def test_rollout_of_several_flags_ends_with_the_percentage() -> None:
    assert run("rollout new_checkout search_v2 40").status == 0
    percents = dict(FeatureFlag.objects.values_list("key", "rollout_percent"))
    assert (percents["new_checkout"], percents["search_v2"], percents["dark_mode"]) == (40, 40, 100)


def test_several_changes_as_json_are_a_list() -> None:
    found = document("on", "summer_banner", "dark_mode")
    assert [(one["key"], one["changed"]) for one in found["changes"]] == [
        ("summer_banner", True),
        ("dark_mode", False),
    ]
    assert found["undo"][:2] == ["undo", "--transaction"]


def test_expected_version_with_several_keys_is_refused() -> None:
    before = enabled()
    ran = run("off new_checkout dark_mode --expect-version 1")
    assert (ran.status, ran.err) == (2, "CommandError: --expect-version needs one KEY\n")
    assert enabled() == before


def test_delete_of_several_flags_asks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter("y")
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    monkeypatch.setattr("builtins.input", lambda: next(answers))
    printed = run("delete dark_mode search_v2").err.splitlines()
    assert printed[0].startswith("dark_mode: On for all users.")
    assert printed[2] == "Delete dark_mode, search_v2? [y/N]"
    assert run("delete dark_mode search_v2 summer_banner --yes").status == 0
    assert not FeatureFlag.objects.filter(key__in=["dark_mode", "search_v2", "summer_banner"])


def test_show_of_several_flags_prints_each() -> None:
    shown = typed("flags show dark_mode search_v2")
    assert shown.startswith("On for all users.\n\nkey ")
    assert "\n\nOn for no users: the rollout is 0 %" in shown
    assert [one["key"] for one in document("show", "dark_mode", "search_v2")] == [
        "dark_mode",
        "search_v2",
    ]
    assert ["key", "search_v2"] in rows("show", "dark_mode", "search_v2")
