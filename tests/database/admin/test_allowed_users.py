"""The allowed users of a flag: the page with search and pages, and the link to it."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff.admin.flag.users import PAGE_SIZE
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, act, count_queries, flag_url, messages_of, page
from tests.support.history import flag_history
from tests.support.screen import Screen
from tests.support.shop import Shop
from tests.support.users import create_users

NAMES = 'label[for^="id_user_"]'


@pytest.fixture
def flag(shop: Shop) -> FeatureFlag:
    """A flag with alice as an allowed user, beside bob and carol."""
    shop.user("bob")
    shop.user("carol")
    return shop.flag("new_checkout")


@pytest.fixture
def url(flag: FeatureFlag) -> str:
    return flag_url(flag, "allowed-users")


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({}, ["alice", "bob"]),
        ({"page": "999999999"}, ["alice", "bob"]),
        ({"page": "0"}, ["alice", "bob"]),
        ({"page": "x"}, ["alice", "bob"]),
        ({"page": "\x00"}, ["alice", "bob"]),
        ({"q": "LIC"}, ["alice"]),
        ({"q": " alice "}, ["alice"]),
        # The primary key of bob in the shop.
        ({"q": "2"}, ["bob"]),
        ({"q": "\x00"}, ["alice", "bob"]),
        ({"q": "carol"}, []),
        ({"q": "%"}, []),
        ({"q": "9" * 400}, []),
    ],
    ids=str,
)
def test_page_lists_the_users_of_a_search_and_of_the_nearest_page(
    parameters: dict[str, str], names: list[str], operator: Client, flag: FeatureFlag, url: str
) -> None:
    flag.allowed_users.add(User.objects.get(username="bob"))
    shown = Screen(operator.get(url, parameters))
    assert shown.texts(NAMES) == names
    assert "2 users" in shown.text
    assert ("No allowed user matches." in shown.text) is (not names)
    pks = [str(User.objects.get(username=name).pk) for name in names]
    assert shown.texts('.flagstaff-users a[href^="/admin/auth/user/"]') == pks


def test_pages_follow_each_other_without_gap(operator: Client, flag: FeatureFlag, url: str) -> None:
    flag.allowed_users.clear()
    users = create_users(PAGE_SIZE + 1, "a")
    flag.allowed_users.add(*users)
    few = count_queries(operator, url)
    users += create_users(PAGE_SIZE, "b")
    flag.allowed_users.add(*users)
    seen: list[str] = []
    ranges: list[str] = []
    query: str | None = ""
    while query is not None:
        shown = Screen(page(operator, f"{url}{query}"))
        seen += shown.texts(NAMES)
        ranges += re.findall(r"Users \d+ to \d+ of \d+", shown.text)
        query = next(iter(shown.attributes("a[rel=next]", "href")), None)
    assert seen == [user.username for user in users]
    assert ranges == ["Users 1 to 100 of 201", "Users 101 to 200 of 201", "Users 201 to 201 of 201"]
    assert count_queries(operator, url) == few <= 8


def test_link_adds_pasted_users_and_returns_to_the_page(
    operator: Client, flag: FeatureFlag, url: str
) -> None:
    link = Screen(page(operator, f"{url}?q=a")).link("Add allowed users…")
    response = act(operator, link, users="bob\ncarol", _reason="beta")
    assert response.redirect_chain == [(f"{url}?q=a", 302)]
    assert flag.allowed_users.count() == 3
    assert flag_history(flag.key)[0].reason == "beta"


def test_selected_users_are_removed_after_a_question(
    operator: Client, flag: FeatureFlag, url: str
) -> None:
    flag.allowed_users.set(User.objects.filter(username__in=["alice", "bob", "carol"]))
    selected = User.objects.filter(username__in=["alice", "bob"]).values_list("pk", flat=True)
    parameters: dict[str, Any] = {"remove": [*selected], "q": "x"}
    response: Any = operator.get(url, parameters)
    assert flag.allowed_users.count() == 3
    asking = Screen(page(operator, response["location"]))
    assert sorted(asking.fields()["users"].split()) == ["alice", "bob"]
    response = act(operator, response["location"])
    assert response.redirect_chain == [(f"{url}?q=x", 302)]
    assert flag.allowed_users.get().username == "carol"


def test_selected_users_without_a_name_of_their_own_stay_primary_keys(
    operator: Client, flag: FeatureFlag, url: str
) -> None:
    alice = User.objects.get(username="alice")
    odd = [f"{alice.pk}", "a, b", ' "x"']
    users = User.objects.bulk_create(User(username=name) for name in odd)
    flag.allowed_users.add(*users)
    response: Any = operator.get(url, {"remove": [user.pk for user in users]})
    act(operator, response["location"])
    assert not flag.allowed_users.filter(username__in=odd)


@pytest.mark.parametrize("permission", ["view", "toggle", "change"])
def test_users_are_seen_with_the_permission_to_view_users_and_changed_with_that_for_flags(
    permission: str, shop: Shop, flag: FeatureFlag, url: str
) -> None:
    client = shop.client("ben", f"{permission}_featureflag", is_superuser=False)
    own = flag_url(flag)
    shown, of_flag = Screen(page(client, url)), Screen(page(client, own))
    assert "1 user" in shown.text
    assert "“Can view user”" in shown.text
    assert "alice" not in shown.html + of_flag.html
    assert "/allow/" not in shown.html
    assert url not in of_flag.html
    filtered = f"{FLAGS}?allowed_users=1"
    assert client.get(filtered).status_code == 400
    client = shop.client("ben", "view_user")
    shown = Screen(page(client, url))
    assert shown.texts(NAMES) == ["alice"]
    may_change = permission == "change"
    text = "Add allowed users (needs “Can change flag”)"
    assert (text in shown.text) is not may_change
    assert ("/allow/" in shown.html) is may_change
    assert bool(shown.all("[name=remove]")) is may_change
    assert Screen(page(client, own)).link("Allowed users") == url
    assert client.get(filtered).status_code == 200


def test_page_needs_permission_and_a_flag(
    operator: Client, shop: Shop, flag: FeatureFlag, url: str
) -> None:
    client = shop.client("ben", "view_user", is_superuser=False)
    assert client.get(url).status_code == 403
    assert Client().get(url)["Location"].startswith("/admin/login/")
    response = operator.get(f"{FLAGS}0/allowed-users/", follow=True)
    assert "0" in messages_of(response)[0]
