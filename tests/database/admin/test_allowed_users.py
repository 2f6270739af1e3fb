"""The page of a flag's allowed users: search, pages, add, remove, permissions."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.utils.html import strip_tags

from flagstaff.admin.users.listing import PAGE_SIZE
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    count_queries,
    flag_url,
    messages_of,
    page,
    post_confirmed,
    staff,
    undo_url,
    undo_urls,
)
from tests.support.history import flag_history

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
    return f"{FLAGS}{flag.pk}/allowed-users/{query}"


def add(client: Client, flag: FeatureFlag, names: str, **more: str) -> Any:
    """Adds users on the page, and returns the page that follows."""
    data = {"names": names, "_add": "1", **more}
    return post_confirmed(client, url(flag), data, follow=True)


def remove(client: Client, flag: FeatureFlag, *users: User, **more: str) -> Any:
    data = {"user": [user.pk for user in users], "_remove": "1", **more}
    return client.post(url(flag), data, follow=True)


def listed(html: str) -> list[str]:
    """Returns the names on the page."""
    return [strip_tags(one) for one in re.findall(r'<label for="id_user_\d+">.*?</label>', html)]


def names_of(flag: FeatureFlag) -> list[str]:
    return sorted(flag.allowed_users.values_list("username", flat=True))


def box(response: Any) -> str:
    """Returns the text in the box for names."""
    [text] = re.findall(r"<textarea.*?>\n(.*?)</textarea>", response.content.decode(), re.DOTALL)
    return str(text)


def problem(response: Any) -> str:
    [text] = re.findall(r'id="names_problem"[^>]*>(.*?)</p>', response.content.decode())
    return str(text)


# Listing.


def test_page_lists_users_with_number_and_links(operator: Client, flag: FeatureFlag) -> None:
    alice, bob = make_users("alice", "bob")
    flag.allowed_users.set([alice, bob])
    html = page(operator, url(flag))
    assert listed(html) == ["alice", "bob"]
    assert "2 allowed users" in html
    assert f'href="/admin/auth/user/{alice.pk}/change/"' in html
    assert "bob" in listed(page(operator, url(flag, f"?q={bob.pk}")))


@pytest.mark.parametrize("number", ["999999999", "0", "x", "\x00", ""])
def test_number_without_a_page_is_the_first_or_the_last_page(
    number: str, operator: Client, flag: FeatureFlag, alice: User
) -> None:
    assert listed(operator.get(url(flag), {"page": number}).content.decode()) == ["alice"]


@pytest.mark.parametrize(
    ("search", "names"),
    [("LIC", ["alice"]), (" alice ", ["alice"]), ("carol", []), ("%", [])],
)
def test_search_finds_a_part_of_the_name(
    search: str, names: list[str], operator: Client, flag: FeatureFlag, alice: User
) -> None:
    bob, _carol = make_users("bob", "carol")
    flag.allowed_users.add(bob)
    html = operator.get(url(flag), {"q": search}).content.decode()
    assert listed(html) == names
    assert ("No allowed user matches." in html) is (not names)


def test_pages_follow_each_other_without_gap(operator: Client, flag: FeatureFlag) -> None:
    names = [f"user{n:03}" for n in range(PAGE_SIZE * 2 + 1)]
    flag.allowed_users.set(make_users(*names))
    seen: list[str] = []
    ranges: list[str] = []
    query: str | None = ""
    while query is not None:
        html = page(operator, url(flag, query))
        seen += listed(html)
        ranges += re.findall(r"Users \d+ to \d+ of \d+", strip_tags(html))
        found = re.search(r'href="([^"]*)" rel="next"', html)
        query = found[1].replace("&amp;", "&") if found else None
    assert seen == names
    assert ranges == ["Users 1 to 50 of 101", "Users 51 to 100 of 101", "Users 101 to 101 of 101"]


def test_query_count_does_not_grow_with_users(operator: Client, flag: FeatureFlag) -> None:
    # More than a page: its users are counted.
    flag.allowed_users.set(make_users(*(f"first{n}" for n in range(PAGE_SIZE + 1))))
    urls = (url(flag), flag_url(flag))
    few = [count_queries(operator, one) for one in urls]
    flag.allowed_users.add(*make_users(*(f"user{n}" for n in range(1000))))
    assert [count_queries(operator, one) for one in urls] == few
    assert few[0] <= 12


# Adding.


@pytest.mark.parametrize("names", ["alice\r\n\r\n bob ,", '"alice"\nbob\nbob', "{alice}, {bob}"])
def test_users_are_added_by_username_or_primary_key(
    names: str, operator: Client, flag: FeatureFlag
) -> None:
    users = make_users("alice", "bob", "carol")
    response = add(operator, flag, names.format(**{user.username: user.pk for user in users}))
    assert names_of(flag) == ["alice", "bob"]
    assert messages_of(response) == ["Added 2 users."]
    assert response.redirect_chain == [(url(flag), 302)]


@pytest.mark.thorough
def test_first_column_of_csv_with_10000_users_is_added(operator: Client, flag: FeatureFlag) -> None:
    names = [f"user{n}" for n in range(10_000)]
    make_users("x", *names)
    response = add(operator, flag, "\n".join(f'"{name}",x' for name in names), first_column="on")
    assert messages_of(response) == ["Added 10,000 users."]
    assert set(names_of(flag)) == set(names)


def test_present_users_are_counted(operator: Client, flag: FeatureFlag, alice: User) -> None:
    make_users("bob")
    present = "1 user was an allowed user already."
    assert messages_of(add(operator, flag, "alice")) == [present]
    assert not LogEntry.objects.exists()
    assert messages_of(add(operator, flag, "alice, bob")) == [f"Added 1 user. {present}"]


def test_unknown_or_shared_username_stays_in_box_with_the_reason(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_users("alice", "bob")
    response = add(operator, flag, "alcie\nbob", _reason="beta")
    assert names_of(flag) == ["bob"]
    assert box(response) == "alcie\n"
    assert problem(response) == (
        "No user has this primary key or username: “alcie”. Did you mean “alice”?"
    )
    # The box may be below the window.
    assert messages_of(response) == ["Added 1 user.", problem(response)]
    assert 'value="beta"' in response.content.decode()
    # Names with commas can be sent again.
    response = add(operator, flag, '"x, y"\n"a ""b"""', first_column="on")
    again = box(response).replace("&quot;", '"')
    assert again == '"x, y"\n"a ""b"""\n'
    assert box(add(operator, flag, again)) == box(response)
    # Another user table may have a name twice.
    monkeypatch.setattr(
        "flagstaff._tables.user_lookup.UserTable.by_username", lambda _table, names: ({}, {*names})
    )
    assert problem(add(operator, flag, "alice")) == (
        "Several users have this username, so write a primary key: “alice”."
    )


@pytest.mark.parametrize("names", ["", " \n,,\n", '"' + "x" * 140_000, "a\x00b", "'; DROP", "<b>"])
def test_empty_box_and_unreadable_names_are_rejected_and_stay_in_box(
    names: str, operator: Client, flag: FeatureFlag
) -> None:
    response = add(operator, flag, names)
    assert response.status_code == 200
    is_empty = not names.strip(" \n,")
    assert (problem(response) == "Write at least one user.") is is_empty
    assert problem(response)
    assert "<b>" not in response.content.decode()
    assert not flag.allowed_users.exists()


def test_reason_and_actor_are_in_the_history_and_the_message_undoes(
    operator: Client, admin_user: User, flag: FeatureFlag
) -> None:
    make_users("alice")
    [link] = undo_urls(add(operator, flag, "alice", _reason="beta"))
    assert link == undo_url(flag_version(flag.key))
    event = flag_history("new_checkout")[0]
    assert (event.reason, event.actor, event.source) == ("beta", str(admin_user.pk), "admin")
    assert LogEntry.objects.get().get_change_message() == "Added 1 user."


@pytest.mark.parametrize("button", ["_add", "_remove"])
def test_required_reason_is_missing(
    button: str, operator: Client, flag: FeatureFlag, alice: User, reason_required: None
) -> None:
    make_users("bob")
    data = {"names": "bob", "user": alice.pk, button: "1"}
    response = operator.post(url(flag), {**data, "_reason": " "})
    assert "A reason is required" in response.content.decode()
    assert (box(response), names_of(flag)) == ("bob", ["alice"])
    operator.post(url(flag), {**data, "_reason": "beta"})
    assert names_of(flag) == (["alice", "bob"] if button == "_add" else [])


# Removing.


def test_only_selected_users_are_removed(operator: Client, flag: FeatureFlag) -> None:
    alice, bob, carol = make_users("alice", "bob", "carol")
    flag.allowed_users.set([alice, bob])
    for selected in ([], ["x", "\x00"]):
        response = operator.post(url(flag), {"user": selected, "_remove": "1"})
        assert "Select at least one user." in response.content.decode()
    version = flag_version("new_checkout")
    assert messages_of(remove(operator, flag, carol)) == ["Removed 0 users."]
    assert flag_version("new_checkout") == version
    assert not LogEntry.objects.exists()
    assert messages_of(remove(operator, flag, alice, _reason="done")) == ["Removed 1 user."]
    assert names_of(flag) == ["bob"]
    assert flag_history("new_checkout")[0].reason == "done"


def test_buttons_keep_the_other_inputs_the_search_and_the_page(
    operator: Client, flag: FeatureFlag, alice: User
) -> None:
    make_users("bob")
    response = add(operator, flag, "bob", user=str(alice.pk))
    assert names_of(flag) == ["alice", "bob"]
    checked = re.findall(r'name="user" value="(\d+)"[^>]* checked', response.content.decode())
    assert checked == [str(alice.pk)]
    response = remove(operator, flag, alice, names="bob", _reason="why")
    assert names_of(flag) == ["bob"]
    assert box(response) == "bob"
    assert 'value="why"' in response.content.decode()
    target = url(flag, "?q=ali&page=1")
    assert operator.post(target, {"user": alice.pk, "_remove": "1"})["Location"] == target


# Permissions.


def test_pages_without_view_user_permission_have_only_the_number(
    flag: FeatureFlag, alice: User
) -> None:
    client = staff("change_featureflag")
    html = page(client, url(flag))
    assert "1 allowed user" in html
    assert "auth.view_user" in html
    assert "alice" not in html
    assert "<textarea" not in html
    assert panel(client, flag) == "1 user"


def test_post_without_permission_is_rejected(flag: FeatureFlag, alice: User) -> None:
    for number, permissions in enumerate(
        (
            (),
            ("view_user",),
            ("view_featureflag", "view_user"),
            ("toggle_featureflag", "view_user"),
            ("change_featureflag",),
        )
    ):
        client = staff(*permissions, name=f"staff{number}")
        for button in ("_add", "_remove"):
            data = {"names": "alice", "user": alice.pk, button: "1"}
            assert client.post(url(flag), data).status_code == 403
    assert names_of(flag) == ["alice"]


@pytest.mark.parametrize("permission", ["toggle_featureflag", "view_featureflag"])
def test_user_who_may_not_change_flags_only_sees_the_users(
    permission: str, flag: FeatureFlag, alice: User
) -> None:
    client = staff(permission, "view_user")
    assert panel(client, flag) == "1 user Show or search alice"
    html = page(client, url(flag))
    assert listed(html) == ["alice"]
    assert "you need the permission to change this flag" in html
    content = html.split('id="users_form"')[1].split("</form>")[0]
    controls = re.findall(r'<(?:textarea|button|input type="(?:text|checkbox)").*?>', content)
    assert len(controls) == 6
    assert all(re.search(r" disabled\b.*>|disabled aria", one) for one in controls)
    assert content.count('aria-describedby="') == content.count("why_not") == 6


def test_page_needs_permission_and_a_flag_and_a_get_request_changes_nothing(
    operator: Client, flag: FeatureFlag
) -> None:
    assert staff("view_user").get(url(flag)).status_code == 403
    assert Client().get(url(flag))["Location"].startswith("/admin/login/")
    operator.get(url(flag), {"names": "admin", "_add": "1"})
    assert names_of(flag) == []
    response = operator.get(f"{FLAGS}0/allowed-users/", follow=True)
    assert response.redirect_chain == [(FLAGS, 302)]
    assert messages_of(response) == ["This flag no longer exists."]


# The panel on the page of the flag.


def panel(client: Client, flag: FeatureFlag) -> str:
    html = page(client, f"{FLAGS}{flag.pk}/change/")
    [found] = re.findall(r'<span class="flagstaff-allowed">(.*?)</span></span>', html, re.DOTALL)
    return " ".join(strip_tags(found.replace("<", " <")).split())


def test_panel_shows_number_first_names_and_link(operator: Client, flag: FeatureFlag) -> None:
    assert panel(operator, flag) == "0 users Add, remove or search"
    flag.allowed_users.set(make_users(*(f"user{n:02}" for n in range(22))))
    text = panel(operator, flag)
    assert text.startswith("22 users Add, remove or search user00, user01, ")
    assert text.endswith(", user19 and 2 more")
    assert f'href="{url(flag)}"' in page(operator, f"{FLAGS}{flag.pk}/change/")
