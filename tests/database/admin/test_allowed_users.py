"""The allowed users of a flag: the page with search and pages, and the link to it."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff.admin.flag.users import PAGE_SIZE
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    act,
    count_queries,
    flag_url,
    messages_of,
    page,
    staff,
)
from tests.support.history import flag_history
from tests.support.screen import Screen

pytestmark = pytest.mark.django_db


def make_users(*names: str) -> list[User]:
    return User.objects.bulk_create([User(username=name) for name in names])


@pytest.fixture
def alice(flag: FeatureFlag) -> User:
    """An allowed user."""
    [alice] = make_users("alice")
    flag.allowed_users.set([alice])
    return alice


def url(flag: FeatureFlag, query: str = "") -> str:
    return f"{flag_url(flag, 'allowed-users')}{query}"


def listed(html: str) -> list[str]:
    """Returns the names on the page."""
    return Screen(html).texts('label[for^="id_user_"]')


def names_of(flag: FeatureFlag) -> list[str]:
    return sorted(flag.allowed_users.values_list("username", flat=True))


# The page.


def test_page_lists_users_with_number_and_links(operator: Client, flag: FeatureFlag) -> None:
    alice, bob = make_users("alice", "bob")
    flag.allowed_users.set([alice, bob])
    html = page(operator, url(flag))
    assert listed(html) == ["alice", "bob"]
    assert "2 users" in html
    assert f'href="/admin/auth/user/{alice.pk}/change/"' in html


@pytest.mark.parametrize("number", ["999999999", "0", "x", "\x00", ""])
def test_number_without_a_page_is_the_first_or_the_last_page(
    number: str, operator: Client, flag: FeatureFlag, alice: User
) -> None:
    assert listed(operator.get(url(flag), {"page": number}).content.decode()) == ["alice"]


@pytest.mark.parametrize(
    ("search", "names"),
    [
        *(("LIC", ["alice"]), (" alice ", ["alice"]), ("{bob}", ["bob"])),
        *((one, []) for one in ("carol", "%", "\x00", "9" * 400)),
    ],
)
def test_search_finds_a_part_of_the_name_or_a_primary_key(
    search: str, names: list[str], operator: Client, flag: FeatureFlag, alice: User
) -> None:
    bob, _carol = make_users("bob", "carol")
    flag.allowed_users.add(bob)
    html = operator.get(url(flag), {"q": search.format(bob=bob.pk)}).content.decode()
    assert listed(html) == names if search != "\x00" else [*names_of(flag)]
    assert ("No allowed user matches." in html) is (not listed(html))


def test_pages_follow_each_other_without_gap(operator: Client, flag: FeatureFlag) -> None:
    names = [f"user{n:03}" for n in range(PAGE_SIZE * 2 + 1)]
    flag.allowed_users.set(make_users(*names))
    seen: list[str] = []
    ranges: list[str] = []
    query: str | None = ""
    while query is not None:
        html = page(operator, url(flag, query))
        seen += listed(html)
        ranges += re.findall(r"Users \d+ to \d+ of \d+", html)
        query = next(iter(Screen(html).attributes("a[rel=next]", "href")), None)
    assert seen == names
    assert ranges == [
        "Users 1 to 100 of 201",
        "Users 101 to 200 of 201",
        "Users 201 to 201 of 201",
    ]


def test_query_count_does_not_grow_with_users(operator: Client, flag: FeatureFlag) -> None:
    flag.allowed_users.set(make_users(*(f"first{n}" for n in range(PAGE_SIZE + 1))))
    few = count_queries(operator, url(flag))
    flag.allowed_users.add(*make_users(*(f"user{n}" for n in range(1000))))
    assert count_queries(operator, url(flag)) == few <= 8


# Its links to the actions.


def test_link_adds_pasted_users_and_returns_to_the_page(
    operator: Client, flag: FeatureFlag, alice: User
) -> None:
    make_users("bob", "carol")
    link = Screen(page(operator, url(flag, "?q=a"))).link("Add allowed users…")
    response = act(operator, link, users="bob\ncarol", _reason="beta")
    assert response.redirect_chain == [(url(flag, "?q=a"), 302)]
    assert names_of(flag) == ["alice", "bob", "carol"]
    assert flag_history(flag.key)[0].reason == "beta"


def test_selected_users_are_removed_after_a_question(
    operator: Client, flag: FeatureFlag, alice: User
) -> None:
    bob, carol = make_users("bob", "carol")
    flag.allowed_users.add(bob, carol)
    response = operator.get(url(flag), {"remove": [str(alice.pk), str(bob.pk)], "q": "x"})
    assert names_of(flag) == ["alice", "bob", "carol"]
    response = act(operator, response.headers["location"])
    assert response.redirect_chain == [(url(flag, "?q=x"), 302)]
    assert names_of(flag) == ["carol"]


# Permissions.


def test_page_without_view_user_permission_has_only_the_number(
    flag: FeatureFlag, alice: User
) -> None:
    client = staff("change_featureflag")
    html = page(client, url(flag))
    assert "1 user" in html
    assert "auth.view_user" in html
    assert "alice" not in html + page(client, flag_url(flag))
    assert "/allow/" not in html


def test_list_without_view_user_permission_cannot_be_filtered_by_allowed_user(alice: User) -> None:
    filtered = f"{FLAGS}?allowed_users={alice.pk}"
    assert staff("view_featureflag").get(filtered).status_code == 400
    seeing = staff("view_featureflag", "view_user", name="seeing")
    assert seeing.get(filtered).status_code == 200


@pytest.mark.parametrize("permission", ["toggle_featureflag", "view_featureflag"])
def test_user_who_may_not_change_flags_only_sees_the_users(
    permission: str, flag: FeatureFlag, alice: User
) -> None:
    html = page(staff(permission, "view_user"), url(flag))
    assert listed(html) == ["alice"]
    assert "Add allowed users <small>(flagstaff.change_featureflag)</small>" in html
    assert "/allow/" not in html
    assert 'name="remove"' not in html


def test_page_needs_permission_and_a_flag(operator: Client, flag: FeatureFlag) -> None:
    assert staff("view_user").get(url(flag)).status_code == 403
    assert Client().get(url(flag))["Location"].startswith("/admin/login/")
    response = operator.get(f"{FLAGS}0/allowed-users/", follow=True)
    assert "0" in messages_of(response)[0]


def test_page_of_the_flag_has_the_number_and_a_link_for_users_who_may_see_users(
    operator: Client, flag: FeatureFlag, alice: User
) -> None:
    link = f'1 user <a href="{url(flag)}">Allowed users…</a>'
    assert link in page(operator, flag_url(flag))
    assert link not in page(staff("change_featureflag"), flag_url(flag))
