"""`manage.py flags compare-waffle`: the results of waffle's rows beside those of the flags here."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.cache import cache
from django.test import RequestFactory
from waffle.models import AbstractUserFlag

from flagstaff import changes
from flagstaff.contrib.waffle.comparing import Person, compare, waffle_result
from flagstaff.contrib.waffle.rows import read_kind
from flagstaff.models import FeatureFlag
from tests.support.documents import database_state
from tests.support.terminals import document, run, table_rows
from tests.support.waffle_rows import flag, sample, switch, use_flag_model


def imported(*rows: Any) -> None:
    assert run("import-waffle").status == 0


def outcomes() -> dict[str, str]:
    return {row["name"]: row["outcome"] for row in compare(1_000)[0]}


def test_imported_rows_are_equal(alice: User) -> None:
    row = flag(staff=True, languages="de")
    row.users.add(alice)
    row.groups.add(Group.objects.create(name="beta"))
    imported(row, switch(), sample(percent=100))
    ran = run("compare-waffle")
    assert (ran.status, ran.out) == (0, "")
    assert ran.err.startswith("3 rows: 0 differs, 0 off here, 0 no flag, 0 own code, 3 equal; ")


def test_percentages_are_listed_and_not_compared() -> None:
    imported(flag(percent="12.5"), sample(percent="33.3"))
    changes.flags.set_rollout("audit", 80)
    ran = run("compare-waffle")
    assert ran.status == 0
    assert table_rows(ran.out) == [
        ["equal", "flag", "checkout", "12.5 %", "13 %", "", ""],
        ["equal", "sample", "audit", "33.3 %", "80 %", "", ""],
    ]
    comparison = document("compare-waffle")
    assert comparison["counts"]["equal"] == 2
    assert (comparison["rows"][0]["waffle"], comparison["rows"][0]["flagstaff"]) == (
        "12.5 %",
        "13 %",
    )
    # A percentage on one side only is a difference.
    changes.flags.set_rollout("checkout", 100)
    [line, _equal] = table_rows(run("compare-waffle").out)
    assert line[:5] == ["differs", "flag", "checkout", "by percentage", "on"]


@pytest.mark.parametrize(
    ("username", "columns"), [("staff", {"staff": True}), ("root", {"superusers": True})]
)
def test_staff_and_superuser_are_compared_if_they_are_not_in_the_sample(
    username: str, columns: dict[str, Any]
) -> None:
    User.objects.bulk_create(User(username=f"user{number}") for number in range(20))
    User.objects.create(username="staff", is_staff=True)
    User.objects.create(username="root", is_staff=True, is_superuser=True)
    chosen = User.objects.get(username=username)
    imported(flag(**columns))
    changes.flags.update("checkout", {"rules": []})
    ran = run("compare-waffle --users 2")
    assert (ran.status, f"user {chosen.pk}, " in ran.out) == (6, True)


def test_member_of_a_group_of_either_side_is_compared() -> None:
    theirs, ours = (Group.objects.create(name=name) for name in ("theirs", "ours"))
    User.objects.bulk_create(User(username=f"user{number}") for number in range(20))
    for group in (theirs, ours):
        User.objects.create(username=group.name).groups.add(group)
    row = flag()
    row.groups.add(theirs)
    imported(row)
    condition = {"attribute": "groups", "operator": "in", "values": ["ours"]}
    changes.flags.update(
        "checkout", {"rules": [{"conditions": [condition], "rollout_percent": 100}]}
    )
    [compared] = compare(1)[0]
    assert {
        (example["person"].partition(", ")[2], example["waffle"], example["flagstaff"])
        for example in compared["examples"]
    } == {("in group theirs", "on", "off"), ("in group ours", "off", "on")}


def test_visitor_of_each_language_is_compared() -> None:
    imported(flag(languages="de, fr"))
    changes.flags.update("checkout", {"rules": []})
    [row] = compare(1_000)[0]
    assert [example["person"] for example in row["examples"]] == [
        "anonymous, language de",
        "anonymous, language fr",
    ]


def test_difference_has_the_number_of_people_and_an_example(alice: User, bob: User) -> None:
    imported(flag())
    changes.flags.allow("checkout", alice)
    ran = run("compare-waffle")
    assert ran.status == 6
    assert table_rows(ran.out) == [
        ["differs", "flag", "checkout", "off", "on", "1", f"user {alice.pk}"]
    ]
    assert "1 row differs from the flags here" in ran.err


def test_flag_that_is_off_here_and_on_in_waffle_is_listed_apart() -> None:
    imported(flag(everyone=True), flag("quiet"), switch(), flag("off", everyone=False))
    for key in ("checkout", "quiet", "search"):
        changes.flags.disable(key)
    assert outcomes() == {
        "checkout": "off here",
        "quiet": "equal",
        "off": "equal",
        "search": "off here",
    }
    assert run("compare-waffle").status == 6


def test_row_without_a_flag_is_a_difference() -> None:
    switch()
    assert (outcomes(), run("compare-waffle").status) == ({"search": "no flag"}, 6)


def own_row(patch: pytest.MonkeyPatch, **methods: Any) -> Any:
    """Creates a row of a model with these methods, and imports it."""
    row = use_flag_model(patch, "OwnFlag", **methods).objects.create(name="checkout", percent=50)
    imported(row)
    return row


def test_row_with_own_code_is_compared_by_both_classes(
    monkeypatch: pytest.MonkeyPatch, alice: User
) -> None:
    asked = []

    def is_active_for_user(self: Any, user: Any) -> bool:
        asked.append(user)
        return super(type(self), self).is_active_for_user(user) is not None

    no_users: dict[str, Any] = dict.fromkeys(
        ("_get_user_ids", "_get_group_ids"), lambda _row: set()
    )
    row = own_row(monkeypatch, is_active_for_user=is_active_for_user, **no_users)
    assert (outcomes(), run("compare-waffle").status) == ({"checkout": "equal"}, 0)
    assert alice in asked
    # As waffle 4.2 did: it ignored "Everyone: No" of users with the flag.
    monkeypatch.setattr(AbstractUserFlag, "is_active_for_user", lambda *_: None)
    type(row).objects.update(everyone=True)
    [compared] = compare(1_000)[0]
    assert (compared["outcome"], compared["waffle"], compared["flagstaff"]) == (
        "differs",
        "False",
        "True",
    )
    assert "is_active_for_user()" in compared["examples"][0]["person"]


@pytest.mark.parametrize(
    ("is_active", "enabled", "outcome", "status"),
    [
        (lambda *_arguments: True, False, "off here", 6),
        (lambda _row, request: request.organization, True, "own code", 0),
    ],
    ids=["off here", "fails"],
)
def test_row_with_own_code_is_listed_by_its_outcome(
    is_active: Any, enabled: bool, outcome: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_row(monkeypatch, is_active=is_active)
    FeatureFlag.objects.update(enabled=enabled)
    assert (outcomes(), run("compare-waffle").status) == ({"checkout": outcome}, status)


def test_comparison_rolls_back_what_own_code_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    own_row(monkeypatch, is_active=lambda *_: bool(User.objects.create(username="written")))
    compare(1_000)
    assert not User.objects.filter(username="written").exists()


def test_users_are_spread_over_the_whole_table() -> None:
    User.objects.bulk_create(User(username=f"user{number}") for number in range(100))
    imported(flag())
    pks = [*User.objects.order_by("pk").values_list("pk", flat=True)]
    changes.flags.allow("checkout", pks)
    [row], visitors = compare(4)
    people = [example["person"] for example in row["examples"]]
    places = sorted(pks.index(int(person.split()[1])) for person in people)
    assert (visitors, len(places)) == (5, 4)
    assert [place // 25 for place in places] == [0, 1, 2, 3]


def test_comparison_writes_nothing_and_ignores_the_cache_of_waffle(settings: Any) -> None:
    settings.WAFFLE_CREATE_MISSING_FLAGS = True
    row = flag(everyone=True)
    imported(row)
    assert type(row).get("checkout").everyone
    # update() leaves the old row in the cache of waffle.
    type(row).objects.update(everyone=False)
    FeatureFlag.objects.update(enabled=False)
    before = database_state()
    assert outcomes() == {"checkout": "equal"}
    assert database_state() == before


def test_computed_results_are_those_of_waffle() -> None:
    cache.clear()
    beta = Group.objects.create(name="beta")
    people: list[Any] = [
        User.objects.create(username="plain"),
        User.objects.create(username="staff", is_staff=True),
        User.objects.create(username="root", is_superuser=True),
        User.objects.create(username="listed"),
        User.objects.create(username="member"),
    ]
    people[-1].groups.add(beta)
    columns: list[dict[str, Any]] = [
        *({"everyone": everyone, "staff": True} for everyone in (None, True, False)),
        *({name: True} for name in ("authenticated", "staff", "superusers", "testing")),
        *({"languages": text} for text in ("de", "fr, de ,", "")),
        *({"percent": percent} for percent in (None, "0.0")),
    ]
    for number, values in enumerate(columns):
        row = flag(f"flag{number}", **values)
        if number % 2:
            row.users.add(people[3])
            row.groups.add(beta)
    for imported in read_kind("flag", "default"):
        row = type(row).objects.get(name=imported.name)
        for user in (*people, AnonymousUser()):
            for language in ("de", "pt"):
                request: Any = RequestFactory().get("/")
                request.user, request.LANGUAGE_CODE = user, language
                groups = {"beta"} if user is people[-1] else ()
                person = Person("one", user if user.pk else None, groups, language)
                ours = waffle_result(imported, person)
                assert ours is bool(row.is_active(request)), (imported, user, language)


def test_percentage_of_a_row_is_no_certain_result() -> None:
    flag(percent="0.1")
    sample(percent="99.9")
    for kind in ("flag", "sample"):
        [row] = read_kind(kind, "default")
        assert waffle_result(row, Person("anonymous")) is None
