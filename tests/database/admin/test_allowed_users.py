"""The page of a flag's allowed users: search, pages, add, remove, permissions."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags

from flagstaff.admin.allowed_users.listing import PAGE_SIZE
from flagstaff.history import flag_history
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, form_data, messages_of, page, staff, undo_urls

pytestmark = pytest.mark.django_db


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=25)


def make_users(*names: str) -> list[User]:
    return User.objects.bulk_create([User(username=name) for name in names])


def url(flag: FeatureFlag, query: str = "") -> str:
    return f"{FLAGS}{flag.pk}/allowed-users/{query}"


def add(client: Client, flag: FeatureFlag, names: str, **more: str) -> Any:
    """Adds users on the page, and returns the page that follows."""
    return client.post(url(flag), {"names": names, "_add": "1", **more}, follow=True)


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


def test_page_lists_users_with_number(operator: Client, flag: FeatureFlag) -> None:
    flag.allowed_users.set(make_users("alice", "bob"))
    html = page(operator, url(flag))
    assert listed(html) == ["alice", "bob"]
    assert "2 allowed users" in html


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


@pytest.mark.parametrize("after", ["999999999", "x", "\x00", ""])
def test_position_without_users_is_the_first_page(
    after: str, operator: Client, flag: FeatureFlag
) -> None:
    flag.allowed_users.set(make_users("alice"))
    response = operator.get(url(flag), {"after": after})
    assert listed(response.content.decode()) == ["alice"]


@pytest.mark.parametrize("search", ["LIC", "alice", " alice "])
def test_search_matches_part_of_username(search: str, operator: Client, flag: FeatureFlag) -> None:
    flag.allowed_users.set(make_users("alice", "bob"))
    response = operator.get(url(flag), {"q": search})
    assert listed(response.content.decode()) == ["alice"]


def test_search_matches_primary_key(operator: Client, flag: FeatureFlag) -> None:
    alice, bob = make_users("alice", "bob")
    flag.allowed_users.set([alice, bob])
    response = operator.get(url(flag), {"q": str(bob.pk)})
    assert "bob" in listed(response.content.decode())


@pytest.mark.parametrize("search", ["carol", "%", "\x00"])
def test_search_without_match_says_so(search: str, operator: Client, flag: FeatureFlag) -> None:
    flag.allowed_users.set(make_users("alice"))
    make_users("carol")
    html = operator.get(url(flag), {"q": search}).content.decode()
    assert listed(html) == []
    assert "No allowed user matches." in html


def test_query_count_does_not_grow_with_users(operator: Client, flag: FeatureFlag) -> None:
    # More than a page: its users are counted.
    flag.allowed_users.set(make_users(*(f"first{n}" for n in range(PAGE_SIZE + 1))))
    page(operator, url(flag))
    with CaptureQueriesContext(connection) as few:
        page(operator, url(flag))
    flag.allowed_users.add(*make_users(*(f"user{n}" for n in range(PAGE_SIZE * 2))))
    with CaptureQueriesContext(connection) as many:
        page(operator, url(flag))
    assert len(few) == len(many) <= 12


def test_missing_flag_redirects_to_the_list(operator: Client, flag: FeatureFlag) -> None:
    response = operator.get(f"{FLAGS}0/allowed-users/", follow=True)
    assert response.redirect_chain == [(FLAGS, 302)]
    assert messages_of(response) == ["This flag no longer exists."]


# Adding.


@pytest.mark.parametrize(
    "names", ["alice, bob", "alice\nbob", "alice\r\n\r\n bob ,", "alice\tbob", '"alice"\nbob\nbob']
)
def test_users_are_added_by_username(names: str, operator: Client, flag: FeatureFlag) -> None:
    make_users("alice", "bob", "carol")
    response = add(operator, flag, names)
    assert names_of(flag) == ["alice", "bob"]
    assert messages_of(response) == ["Added 2 users."]
    assert response.redirect_chain == [(url(flag), 302)]


def test_users_are_added_by_primary_key(operator: Client, flag: FeatureFlag) -> None:
    alice, bob = make_users("alice", "bob")
    add(operator, flag, f"{alice.pk}\n{bob.pk}")
    assert names_of(flag) == ["alice", "bob"]


def test_first_column_of_csv_is_added(operator: Client, flag: FeatureFlag) -> None:
    make_users("alice", "bob", "carol")
    add(operator, flag, 'alice,carol,x\n"bob",y', first_column="on")
    assert names_of(flag) == ["alice", "bob"]


def test_present_users_are_counted(operator: Client, flag: FeatureFlag) -> None:
    flag.allowed_users.set(make_users("alice"))
    make_users("bob")
    [text] = messages_of(add(operator, flag, "alice, bob"))
    assert text == "Added 1 user. 1 user was an allowed user already."


def test_present_user_alone_is_no_change(operator: Client, flag: FeatureFlag) -> None:
    flag.allowed_users.set(make_users("alice"))
    [text] = messages_of(add(operator, flag, "alice"))
    assert text == "1 user was an allowed user already."
    assert not LogEntry.objects.exists()


def test_unknown_user_stays_in_box_with_guess(operator: Client, flag: FeatureFlag) -> None:
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


def test_unknown_names_with_commas_can_be_sent_again(operator: Client, flag: FeatureFlag) -> None:
    response = add(operator, flag, '"x, y"\n"a ""b"""', first_column="on")
    again = box(response).replace("&quot;", '"')
    assert again == '"x, y"\n"a ""b"""\n'
    assert box(add(operator, flag, again)) == box(response)


def test_shared_username_is_not_added(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shared(_table: object, names: Any) -> Any:
        return {}, set(names)

    monkeypatch.setattr("flagstaff._tables.user_lookup.UserTable.by_username", shared)
    response = add(operator, flag, "alice")
    assert problem(response) == (
        "Several users have this username, so write a primary key: “alice”."
    )


@pytest.mark.parametrize("names", ["", " \n,,\n", "\t"])
def test_empty_box_is_rejected(names: str, operator: Client, flag: FeatureFlag) -> None:
    assert problem(add(operator, flag, names)) == "Write at least one user."


@pytest.mark.parametrize("names", ['"' + "x" * 140_000, "a\x00b", "'; DROP TABLE", "<b>"])
def test_unreadable_names_stay_in_box(names: str, operator: Client, flag: FeatureFlag) -> None:
    response = add(operator, flag, names)
    assert response.status_code == 200
    assert problem(response)
    assert "<b>" not in response.content.decode()
    assert not flag.allowed_users.exists()


def test_reason_and_actor_are_in_the_history(operator: Client, flag: FeatureFlag) -> None:
    make_users("alice")
    add(operator, flag, "alice", _reason="beta")
    event = flag_history("new_checkout")[0]
    admin = User.objects.get(username="admin")
    assert (event.reason, event.actor, event.source) == ("beta", str(admin.pk), "admin")
    assert LogEntry.objects.get().get_change_message() == "Added 1 user."


def test_message_has_a_link_that_undoes(operator: Client, flag: FeatureFlag) -> None:
    make_users("alice")
    [link] = undo_urls(add(operator, flag, "alice"))
    assert link.startswith(f"{FLAGS}{flag.pk}/history/?undo=")


@pytest.mark.parametrize("button", ["_add", "_remove"])
def test_required_reason_is_missing(
    button: str, operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "REQUIRE_REASON": True}
    alice, _bob = make_users("alice", "bob")
    flag.allowed_users.set([alice])
    data = {"names": "bob", "user": alice.pk, button: "1"}
    response = operator.post(url(flag), {**data, "_reason": " "})
    assert "A reason is required" in response.content.decode()
    assert (box(response), names_of(flag)) == ("bob", ["alice"])
    operator.post(url(flag), {**data, "_reason": "beta"})
    assert names_of(flag) == (["alice", "bob"] if button == "_add" else [])


def test_10000_users_are_added_at_once(operator: Client, flag: FeatureFlag) -> None:
    names = [f"user{n}" for n in range(10_000)]
    make_users(*names)
    assert messages_of(add(operator, flag, "\n".join(names))) == ["Added 10,000 users."]
    assert flag.allowed_users.count() == 10_000


# Removing.


def test_selected_users_are_removed(operator: Client, flag: FeatureFlag) -> None:
    alice, bob, carol = make_users("alice", "bob", "carol")
    flag.allowed_users.set([alice, bob, carol])
    response = remove(operator, flag, alice, carol, _reason="done")
    assert messages_of(response) == ["Removed 2 users."]
    assert names_of(flag) == ["bob"]
    assert flag_history("new_checkout")[0].reason == "done"


def test_removal_keeps_search_and_page(operator: Client, flag: FeatureFlag) -> None:
    [alice] = make_users("alice")
    flag.allowed_users.set([alice])
    target = url(flag, "?q=ali&after=0")
    response = operator.post(target, {"user": alice.pk, "_remove": "1"})
    assert response["Location"] == target


def test_removal_keeps_typed_names(operator: Client, flag: FeatureFlag) -> None:
    alice, _bob = make_users("alice", "bob")
    flag.allowed_users.set([alice])
    response = remove(operator, flag, alice, names="bob", _reason="why")
    assert names_of(flag) == []
    assert box(response) == "bob"
    assert 'value="why"' in response.content.decode()


def test_adding_keeps_selection(operator: Client, flag: FeatureFlag) -> None:
    alice, _bob = make_users("alice", "bob")
    flag.allowed_users.set([alice])
    response = add(operator, flag, "bob", user=str(alice.pk))
    assert names_of(flag) == ["alice", "bob"]
    assert re.findall(r'name="user" value="(\d+)"[^>]* checked', response.content.decode()) == [
        str(alice.pk)
    ]


@pytest.mark.parametrize("selected", [[], ["x", "\x00"]])
def test_removal_without_selection_says_so(
    selected: list[str], operator: Client, flag: FeatureFlag
) -> None:
    response = operator.post(url(flag), {"user": selected, "_remove": "1"})
    assert "Select at least one user." in response.content.decode()


def test_removal_of_removed_user_changes_nothing(operator: Client, flag: FeatureFlag) -> None:
    [alice] = make_users("alice")
    assert messages_of(remove(operator, flag, alice)) == ["Removed 0 users."]
    assert flag_history("new_checkout")[0].action == "create"
    assert not LogEntry.objects.exists()


# Permissions.


def test_page_without_view_user_permission_has_only_the_number(flag: FeatureFlag) -> None:
    flag.allowed_users.set(make_users("alice"))
    html = page(staff("change_featureflag"), url(flag))
    assert "1 allowed user" in html
    assert "auth.view_user" in html
    assert "alice" not in html
    assert "<textarea" not in html


def test_page_without_change_permission_has_disabled_controls(flag: FeatureFlag) -> None:
    flag.allowed_users.set(make_users("alice"))
    html = page(staff("view_featureflag", "view_user"), url(flag))
    assert listed(html) == ["alice"]
    assert "you need the permission to change this flag" in html
    content = html.split('id="users_form"')[1].split("</form>")[0]
    controls = re.findall(r'<(?:textarea|button|input type="(?:text|checkbox)").*?>', content)
    assert len(controls) == 6
    assert all(re.search(r" disabled\b.*>|disabled aria", one) for one in controls)
    assert content.count('aria-describedby="') == content.count("why_not") == 6


@pytest.mark.parametrize(
    "permissions", [(), ("view_user",), ("view_featureflag", "view_user"), ("change_featureflag",)]
)
@pytest.mark.parametrize("button", ["_add", "_remove"])
def test_post_without_permission_is_rejected(
    permissions: tuple[str, ...], button: str, flag: FeatureFlag
) -> None:
    [alice] = make_users("alice")
    flag.allowed_users.set([alice])
    data = {"names": "alice", "user": alice.pk, button: "1"}
    assert staff(*permissions).post(url(flag), data).status_code == 403
    assert names_of(flag) == ["alice"]


def test_read_only_pages_have_disabled_controls(
    operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    assert "setting READ_ONLY" in page(operator, url(flag))
    make_users("alice")
    assert operator.post(url(flag), {"names": "alice", "_add": "1"}).status_code == 403
    assert names_of(flag) == []


def test_user_who_may_toggle_only_sees_the_users(flag: FeatureFlag) -> None:
    flag.allowed_users.set(make_users("eve"))
    client = staff("toggle_featureflag", "view_user")
    assert panel(client, flag) == "1 user Show or search eve"
    assert client.post(url(flag), {"names": "eve", "_add": "1"}).status_code == 403


def test_page_without_view_flag_permission_is_rejected(flag: FeatureFlag) -> None:
    assert staff("view_user").get(url(flag)).status_code == 403


def test_logged_out_user_is_sent_to_the_login(flag: FeatureFlag) -> None:
    assert Client().get(url(flag))["Location"].startswith("/admin/login/")


def test_post_without_csrf_token_is_rejected(admin_user: User, flag: FeatureFlag) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(url(flag), {"names": "admin", "_add": "1"}).status_code == 403


def test_get_with_buttons_changes_nothing(operator: Client, flag: FeatureFlag) -> None:
    make_users("alice")
    operator.get(url(flag), {"names": "alice", "_add": "1"})
    assert names_of(flag) == []


def test_users_are_linked_to_their_page(operator: Client, flag: FeatureFlag) -> None:
    [alice] = make_users("alice")
    flag.allowed_users.set([alice])
    assert f'href="/admin/auth/user/{alice.pk}/change/"' in page(operator, url(flag))


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


def test_panel_without_view_user_permission_has_only_the_number(flag: FeatureFlag) -> None:
    flag.allowed_users.set(make_users("eve"))
    assert panel(staff("change_featureflag"), flag) == "1 user"


def test_panel_without_change_permission_links_to_the_page(flag: FeatureFlag) -> None:
    flag.allowed_users.set(make_users("eve"))
    client = staff("view_featureflag", "view_user")
    assert panel(client, flag) == "1 user Show or search eve"


def test_panel_has_the_same_queries_for_many_users(operator: Client, flag: FeatureFlag) -> None:
    flag.allowed_users.set(make_users("alice"))
    panel(operator, flag)
    with CaptureQueriesContext(connection) as few:
        panel(operator, flag)
    flag.allowed_users.add(*make_users(*(f"user{n}" for n in range(1000))))
    with CaptureQueriesContext(connection) as many:
        panel(operator, flag)
    assert len(few) == len(many)


def test_form_of_flag_does_not_change_allowed_users(operator: Client, flag: FeatureFlag) -> None:
    alice, bob = make_users("alice", "bob")
    flag.allowed_users.set([alice])
    target = f"{FLAGS}{flag.pk}/change/"
    data = {**form_data(operator.get(target)), "rollout_percent": 5}
    operator.post(target, {**data, "allowed_users": [bob.pk]})
    flag.refresh_from_db()
    assert flag.rollout_percent == 5
    assert names_of(flag) == ["alice"]


def test_page_that_adds_a_flag_has_the_field(operator: Client) -> None:
    html = page(operator, f"{FLAGS}add/")
    assert 'name="allowed_users"' in html
    assert "field-allowed_users_panel" not in html
