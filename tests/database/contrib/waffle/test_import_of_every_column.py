"""Rows of waffle with every column set: each is accounted for, and nothing is lost silently."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import models
from waffle.models import Flag

from flagstaff.models import FeatureFlag
from tests.support.terminals import document, run
from tests.support.waffle_rows import (
    flag,
    notes,
    rows_of_dry_run,
    sample,
    statuses,
    use_flag_model,
    use_switch_model,
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


def test_everyone_yes_has_no_rules_and_keeps_the_rest_as_text(alice: User) -> None:
    row = flag(
        everyone=True, percent=Decimal("12.5"), testing=True, staff=True, languages="de", note="Ana"
    )
    row.groups.add(Group.objects.create(name="beta"))
    row.users.add(alice)
    hidden = "testing, staff, 12.5 %, languages de, groups beta"
    text = f"Everyone = Yes hides {hidden}; the description has this as text"
    assert notes() == {"flag:checkout": text}
    run("import-waffle")
    found = stored("checkout")
    assert (found.enabled, found.rollout_percent, found.rules) == (True, 100, [])
    assert found.description == f"Ana\n\nIn waffle, hidden by Everyone = Yes: {hidden}."
    assert [*found.allowed_users.all()] == [alice]


def test_everyone_no_is_disabled_and_keeps_the_rest(alice: User) -> None:
    row = flag(everyone=False, percent=20, staff=True)
    row.users.add(alice)
    assert "also in is_active_for_user(), which returns True" in notes()["flag:checkout"]
    run("import-waffle")
    found = stored("checkout")
    assert (found.enabled, found.rollout_percent, attributes("checkout")) == (
        False,
        20,
        ["is_staff"],
    )
    assert [*found.allowed_users.all()] == [alice]


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


def test_columns_of_an_own_model_are_rules_or_named_as_lost(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waffle_settings(settings, FIELDS={"teams": "team_id", "region": "region"})
    model = use_flag_model(
        monkeypatch,
        "RegionFlag",
        teams=models.ManyToManyField(Group, related_name="+"),
        region=models.CharField(max_length=10, default=""),
        sites=models.ManyToManyField(Group, related_name="+"),
        tier=models.IntegerField(default=1),
        changed=models.DateTimeField(auto_now=True),
    )
    red, blue = (Group.objects.create(name=name) for name in ("red", "blue"))
    model.objects.create(name="plain")
    known = model.objects.create(name="known", region="EU")
    known.teams.add(red, blue)
    lost = model.objects.create(name="lost", tier=2)
    lost.sites.add(red)
    model.objects.create(name="yes", region="EU", everyone=True)
    model.objects.create(name="no", region="EU", everyone=False)
    assert statuses() == {
        "flag:plain": "exact",
        "flag:known": "differs",
        "flag:lost": "lost",
        "flag:yes": "exact",
        "flag:no": "exact",
    }
    found = notes()
    assert found["flag:known"] == (
        "the rule region turns it on for users for whom it is off in waffle; "
        "the rule teams turns it on for users for whom it is off in waffle"
    )
    assert found["flag:lost"] == (
        'the column tier is lost; add it to FLAGSTAFF["WAFFLE"]["FIELDS"], or evaluate it in your '
        'code; the column sites is lost; add it to FLAGSTAFF["WAFFLE"]["FIELDS"], or evaluate it '
        "in your code"
    )
    assert "5 rows: 3 exact, 1 differs, 1 lost, 0 refused" in run("import-waffle").err
    region, teams, _superusers = stored("known").rules
    assert region["conditions"][0] == {
        "attribute": "region",
        "operator": "in",
        "values": ["EU"],
    }
    assert teams["conditions"][0]["attribute"] == "team_id"
    assert teams["conditions"][0]["values"] == sorted([red.pk, blue.pk])
    assert "region EU" in stored("yes").description


@pytest.mark.parametrize(
    "method", ["is_active", "is_active_for_user", "_is_active_for_language", "_get_user_ids"]
)
def test_row_of_a_model_that_overrides_a_method_is_refused(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_on(self: object, *_: object) -> bool:
        return True

    model = use_flag_model(monkeypatch, f"Flag{method}", **{method: is_on})
    model.objects.create(name="checkout")
    [note] = rows_of_dry_run()["flag:checkout"]["notes"]
    assert note == f"its model overrides {method}(), so its own code goes on evaluating it"
    assert run("import-waffle").status == 4
    assert not FeatureFlag.objects.exists()


def test_row_of_a_model_with_an_unrelated_method_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = use_flag_model(monkeypatch, "NamedFlag", get_flush_keys=lambda self: [])
    model.objects.create(name="checkout")
    assert statuses() == {"flag:checkout": "exact"}


def test_columns_of_an_own_switch_model_are_named_as_lost(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waffle_settings(settings, FIELDS={"region": "region"})
    region = models.CharField(max_length=10, default="")
    model = use_switch_model(monkeypatch, "RegionSwitch", region=region)
    model.objects.create(name="search", region="EU")
    assert statuses() == {"switch:search": "lost"}
    assert notes() == {"switch:search": "the column region is lost; evaluate it in your code"}
