"""Rows of waffle with every column set: each is accounted for, and nothing is lost silently."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import pytest
import waffle
from django.contrib.auth.models import Group, User
from django.db import models
from waffle.models import Flag

from flagstaff import changes
from flagstaff.models import FeatureFlag
from tests.support.terminals import document, run
from tests.support.waffle_rows import (
    flag,
    notes,
    rows_of_dry_run,
    sample,
    statuses,
    use_flag_model,
)

pytestmark = pytest.mark.django_db

PERCENTS: list[str | None] = ["0.0", "0.1", "33.3", "50.0", "99.9"]


def stored(key: str) -> FeatureFlag:
    return FeatureFlag.objects.get(key=key)


def attributes(key: str) -> list[str]:
    """The attributes that the rules of a flag read, in order."""
    return [rule["conditions"][0]["attribute"] for rule in stored(key).rules]


def waffle_settings(settings: Any, **given: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": given}


@pytest.mark.parametrize(
    ("percents", "switches"),
    [
        (PERCENTS[:2], ("testing",)),
        pytest.param(
            PERCENTS,
            ("testing", "superusers", "staff", "authenticated"),
            marks=pytest.mark.thorough,
        ),
    ],
    ids=["some", "all"],
)
def test_every_combination_of_columns_is_imported_with_its_status(
    alice: User, percents: list[str | None], switches: tuple[str, ...]
) -> None:
    beta = Group.objects.create(name="beta")
    on = product([False, True], repeat=len(switches))
    combinations = product([None, True, False], [None, *percents], on, ["", "de,"], [False, True])
    new, listed, expected = [], set(), {}
    for number, (everyone, percent, values, languages, is_listed) in enumerate(combinations):
        columns: dict[str, Any] = {"rollout": number % 3 == 0, "percent": percent}
        columns |= dict(zip(switches, values, strict=True))
        name = f"flag_{number}"
        new.append(Flag(name=name, everyone=everyone, languages=languages, **columns))
        listed |= {name} if is_listed else set()
        has_random_number = everyone is None and percent not in (None, "0.0")
        loses_test = everyone is None and columns["testing"] and is_listed
        expected[name] = "differs" if has_random_number or loses_test else "exact"
    chosen = [row for row in Flag.objects.bulk_create(new) if row.name in listed]
    beta_flags: Any = beta.flag_set
    alice_flags: Any = alice.flag_set
    beta_flags.add(*chosen)
    alice_flags.add(*chosen)
    found = document("import-waffle")
    assert {row["name"]: row["status"] for row in found["rows"]} == expected
    counts = Counter(expected.values())
    assert found["counts"] == {
        "exact": counts["exact"],
        "differs": counts["differs"],
        **dict.fromkeys(("lost", "refused"), 0),
    }
    assert FeatureFlag.objects.count() == len(expected)
    assert {row["action"] for row in document("import-waffle")["rows"]} == {""}


def test_rules_are_in_the_order_of_waffle(alice: User, settings: Any) -> None:
    row = flag(testing=True, superusers=True, staff=True, authenticated=True, languages="de, fr ,")
    row.groups.add(Group.objects.create(name="beta"), Group.objects.create(name="alpha"))
    run("import-waffle")
    assert attributes("checkout") == [
        *("waffle_test", "waffle_test", "language"),
        *("is_authenticated", "is_staff", "is_superuser", "groups"),
    ]
    assert stored("checkout").rules[-1]["conditions"][0]["values"] == ["alpha", "beta"]
    assert [rule["rollout_percent"] for rule in stored("checkout").rules[:2]] == [100, 0]


@pytest.mark.parametrize(
    ("everyone", "enabled", "rollout"), [(True, True, 100), (False, False, 20)]
)
def test_everyone_decides_and_the_rest_is_kept_except_tests_beside_yes(
    everyone: bool, enabled: bool, rollout: int, alice: User
) -> None:
    row = flag(everyone=everyone, percent=20, testing=True, staff=True, note="Ana")
    row.users.add(alice)
    assert statuses() == {"flag:checkout": "exact"}
    run("import-waffle")
    found = stored("checkout")
    assert (found.enabled, found.rollout_percent) == (enabled, rollout)
    assert attributes("checkout") == [*["waffle_test"] * 2 * (not everyone), "is_staff"]
    assert (found.description, [*found.allowed_users.all()]) == ("Ana", [alice])


@pytest.mark.parametrize(
    ("percent", "rollout"),
    [("0.0", 0), ("0.1", 1), ("0.4", 1), ("33.5", 34), ("99.4", 99), ("99.9", 99)],
)
def test_percentage_is_rounded_but_not_to_0_or_100(percent: str, rollout: int) -> None:
    flag(percent=percent)
    sample(percent=percent)
    run("import-waffle")
    assert [stored(key).rollout_percent for key in ("checkout", "audit")] == [rollout, rollout]


def test_percentages_of_users_are_bucketed_by_user(settings: Any) -> None:
    waffle_settings(settings, PERCENT_OF="users")
    flag(percent=10)
    run("import-waffle")
    assert stored("checkout").bucket_by == "user"


def test_sample_of_100_percent_is_on_and_exact() -> None:
    sample(percent="100.0")
    assert statuses() == {"sample:audit": "exact"}
    run("import-waffle")
    assert stored("audit").rollout_percent == 100


# Models of a project's own.


def test_columns_of_an_own_model_are_named_as_lost_unless_they_are_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = use_flag_model(
        monkeypatch,
        "RegionFlag",
        region=models.CharField(max_length=10, default=""),
        sites=models.ManyToManyField(Group, related_name="+"),
        tier=models.IntegerField(default=1),
        changed=models.DateTimeField(auto_now=True),
    )
    model.objects.create(name="plain")
    model.objects.create(name="lost", tier=2).sites.add(Group.objects.create(name="red"))
    assert statuses() == {"flag:plain": "exact", "flag:lost": "lost"}
    assert notes()["flag:lost"] == (
        "the column tier is lost; evaluate it in your code; "
        "the column sites is lost; evaluate it in your code"
    )
    assert "2 rows: 1 exact, 0 differs, 1 lost, 0 refused" in run("import-waffle").err


@pytest.mark.parametrize("everyone", [None, True, False])
@pytest.mark.parametrize("method", ["is_active", "is_active_for_user", "_get_user_ids"])
def test_row_of_a_model_with_own_code_is_imported_as_kill_switch(
    method: str, everyone: bool | None, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = use_flag_model(monkeypatch, f"Flag{method}", **{method: lambda *_: True})
    row = model.objects.create(name="checkout", everyone=everyone, percent=20, note="Ana")
    row.users.add(alice)
    [note] = rows_of_dry_run()["flag:checkout"]["notes"]
    assert note == f"{method}() of common.Flag{method} decides, unless the flag is off here"
    assert run("import-waffle").status == 0
    found = stored("checkout")
    assert (found.enabled, found.rollout_percent, found.rules) == (True, 0, [])
    assert (found.kind, found.description, found.allowed_users.count()) == ("ops", "Ana", 0)


def test_import_leaves_killed_flag_of_own_code_off(monkeypatch: pytest.MonkeyPatch) -> None:
    model = use_flag_model(monkeypatch, "OwnFlag", is_active=lambda *_: True)
    model.objects.create(name="checkout", everyone=True)
    assert run("import-waffle").status == 0
    changes.flags.disable("checkout")
    model.objects.update(percent=50)
    assert run("import-waffle").status == 0
    assert not stored("checkout").enabled


def test_row_without_a_column_of_waffle_5_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # As with an old version, whose abstract class does not have it.
    model = use_flag_model(monkeypatch, "OldFlag", languages=None)
    model.objects.create(name="checkout")
    assert notes() == {"flag:checkout": "its table lacks the column languages of django-waffle 5"}
    assert run("import-waffle").status == 4


@pytest.mark.parametrize(
    ("version", "ignored"),
    [("3.0.0", "'Everyone',"), ("4.0.0", "'Everyone',"), ("4.2.0", "'Everyone: No',")],
)
def test_older_waffle_is_imported_with_a_warning(
    version: str, ignored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag()
    assert "differs from version 5" not in run("import-waffle").err
    monkeypatch.setattr(waffle, "__version__", version)
    ran = run("import-waffle")
    assert (ran.status, f"waffle {version} differs from version 5" in ran.err) == (0, True)
    assert f"is_active_for_user() ignores {ignored}" in ran.err


def test_row_of_a_model_with_an_unrelated_method_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = use_flag_model(monkeypatch, "NamedFlag", get_flush_keys=lambda self: [])
    model.objects.create(name="checkout")
    assert statuses() == {"flag:checkout": "exact"}
