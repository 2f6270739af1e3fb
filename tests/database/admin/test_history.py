"""The history in the admin: events, undo, restore, attribution."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import acting_as, changes
from flagstaff.history import flag_version, value_version
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.admin_pages import (
    FLAGS,
    RECENT,
    VALUES,
    act,
    asks,
    confirmed,
    events_of,
    kill,
    messages_of,
    page,
    problems_of,
    restore_url,
    rows_of,
    staff,
    state,
    turn_on,
    undo_url,
)
from tests.support.admin_pages import undo as undo_by_page
from tests.support.history import flag_history
from tests.support.history_fixtures import disabled_triggers
from tests.support.sql import rows, statements_of, without_table

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)


def url(row: Any, view: str = "history") -> str:
    base = FLAGS if isinstance(row, FeatureFlag) else VALUES
    return f"{base}{row.pk}/{view}/"


def links(html: str) -> list[str]:
    return re.findall(r'href="[^"]*\?(undo|restore)=\d+"', html)


# The page.


def test_page_shows_change_actor_source_and_reason_with_a_link(
    operator: Client, flag: FeatureFlag
) -> None:
    ticket, created = "https://tickets.example.com/OPS-7", flag_version("new_checkout")
    with acting_as(User.objects.create(username="alice"), reason=f"see {ticket}"):
        changes.flags.set_rollout("new_checkout", 50)
    newest, oldest = events_of(page(operator, url(flag)))
    assert newest == f"rollout 25 → 50 % alice · code · {{}} · “see {ticket}”".format(
        *re.findall(r"\d\d:\d\d:\d\d · just now", newest)
    )
    assert oldest.startswith('created, on, rollout 25 %, kind "release" ')
    assert "(database user)" in oldest
    html, change = page(operator, url(flag)), flag_version("new_checkout")
    assert f'href="{undo_url(change)}"' in html
    assert f'href="{restore_url(url(flag), created)}"' in html
    for view in ("history", "change"):
        html = page(operator, url(flag, view))
        assert f'see <a href="{ticket}" rel="noreferrer">{ticket}</a>”</span>' in html
    with acting_as("<b>ana</b>", reason="<script>alert(1)</script>", source="<i>"):
        FeatureFlag.objects.update(description="<img src=x>")
    assert not re.search(r"<(script>alert|b>ana|i>|img src=x)", page(operator, url(flag)))


def test_csv_is_sent_while_the_history_is_read(operator: Client, flag: FeatureFlag) -> None:
    def read_first_byte() -> None:
        response: Any = operator.get(f"{url(flag)}?format=csv")
        assert response.streaming
        next(iter(response))

    few = len(statements_of(read_first_byte))
    for number in range(450):
        FeatureFlag.objects.filter(pk=flag.pk).update(description=str(number))
    assert len(statements_of(read_first_byte)) == few
    assert len(page(operator, f"{url(flag)}?format=csv").splitlines()) > 450


@pytest.mark.parametrize("kind", ["flag", "all", "changed flags"])
def test_undone_change_says_so_and_has_no_button(
    kind: str, operator: Client, flag: FeatureFlag
) -> None:
    change = changes.flags.set_rollout("new_checkout", 50).version or 0
    with acting_as("ana"):
        back = changes.flags.undo("new_checkout", change).version
    address = {
        "flag": url(flag),
        "all": RECENT,
        "changed flags": f"{RECENT}?kind=flag&action=change",
    }
    html = page(operator, address[kind])
    newest, undone, *_others = events_of(html)
    assert re.search(r"undone \d\d:\d\d:\d\d by ana$", undone)
    assert "undone" not in newest
    assert f'href="{undo_url(back)}' in html
    assert f'href="{undo_url(change)}' not in html
    assert f'value="{change}"' not in html
    if kind == "flag":
        assert f'href="{restore_url(url(flag), change)}"' in html
        # Also if its undo is on the page before.
        [undone, *_others] = events_of(page(operator, f"{url(flag)}?before={back}"))
        assert re.search(r"undone \d\d:\d\d:\d\d by ana$", undone)


def test_users_without_the_permission_to_view_users_see_only_numbers(
    operator: Client, flag: FeatureFlag
) -> None:
    version, editor = flag_version("new_checkout"), staff("change_featureflag")
    # Long, because the pages have tokens of random letters.
    robert = User.objects.create(username="robert.smith")
    change = changes.flags.allow("new_checkout", robert).version
    restore = restore_url(url(flag), version)
    for address in (url(flag), RECENT, restore, undo_url(change)):
        html = page(editor, address)
        assert "1 allowed user" in html
        assert "robert.smith" not in html
        assert "robert.smith" in page(operator, address)
    for address in (f"{url(flag)}?format=csv", f"{RECENT}?format=csv"):
        assert '"{""count"": 1, ""pks"": []}"' in page(editor, address)
        assert f'""pks"": [{robert.pk}]' in page(operator, address)
    [message] = messages_of(undo_by_page(editor, change))
    assert message.startswith("The change of “new_checkout” was undone: removed 1 allowed user.")


def test_history_needs_view_permission_and_its_buttons_change_permission(
    viewer: Client, flag: FeatureFlag
) -> None:
    change = changes.flags.set_rollout("new_checkout", 50).version
    other = staff("view_keyvaluestore", name="other")
    assert links(page(viewer, url(flag))) == []
    assert other.get(url(flag)).status_code == 403
    undo_page, restore_page = undo_url(change), restore_url(url(flag), change)
    for client, address in ((viewer, undo_page), (viewer, restore_page), (other, undo_page)):
        assert client.get(address).status_code == 403
        assert client.post(address, {"_confirmed": "1"}).status_code == 403
    assert state(flag) == (True, 50)


# Undo and restore.


def test_undo_truncates_long_texts_in_its_message_and_its_reason(
    operator: Client, flag: FeatureFlag
) -> None:
    change = changes.flags.update("new_checkout", {"description": "x" * 10_000}).version
    [message] = messages_of(undo_by_page(operator, change, _reason="\0why" + "x" * 1000))
    assert '… (9,882 more characters) → "".' in message
    assert len(message) < 400
    assert flag_history("new_checkout")[0].reason == "why" + "x" * 497


def preview(client: Client, row: Any, version: int | None) -> Any:
    """Opens the page that restores a version."""
    response = client.get(restore_url(url(row), version))
    assert asks(response)
    return response


def test_restore_shows_each_field_and_restores_it_with_a_reason(
    operator: Client, flag: FeatureFlag
) -> None:
    version = flag_version("new_checkout")
    changes.flags.allow("new_checkout", User.objects.create(username="alice"))
    changes.flags.update("new_checkout", {"rollout_percent": 50, "description": "<b>One</b> page"})
    newest = flag_version("new_checkout")
    response = preview(operator, flag, version)
    html = response.content.decode()
    assert rows_of(html) == [
        "rollout 50 % 25 %",
        'description "<b>One</b> page" ""',
        "allowed users 1 user 0 users: removed 1 allowed user (alice)",
    ]
    assert "<b>One" not in html
    assert "Restore “new_checkout” to its state after the change of " in html
    assert "? This reverts all later changes of these fields." in html
    assert flag_version("new_checkout") == newest
    data = {**confirmed(response), "_reason": "orders fail"}
    changes.flags.set_rollout("new_checkout", 75)
    address = restore_url(url(flag), version)
    response = operator.post(address, data)
    assert problems_of(response)[0].startswith("Not saved: new_checkout has version")
    assert state(flag) == (True, 75)
    # The page shows the present state, and keeps the reason.
    [message] = messages_of(operator.post(address, confirmed(response), follow=True))
    assert message.startswith("“new_checkout” was restored: rollout 75 → 25 %, ")
    assert ", removed 1 allowed user (alice)." in message
    assert (state(flag), flag.allowed_users.count()) == ((True, 25), 0)
    assert flag_history("new_checkout")[0].reason == "orders fail"
    # It is as at the version now.
    [message] = messages_of(operator.get(address, follow=True))
    assert message == "Nothing was changed: “new_checkout” already has these values."


def test_only_version_with_same_secret_value_can_be_restored(operator: Client) -> None:
    row = KeyValueStore.objects.create(key="token", value="hunter2", secret=True)
    lost = [
        value_version("token"),
        changes.values.update("token", {"description": "For the shop"}).version,
    ]
    changes.values.set("token", "hunter3")
    changes.values.update("token", {"description": "For the new shop"})
    [offered] = re.findall(r'\?restore=(\d+)"', page(operator, url(row)))
    assert int(offered) not in lost
    for version in lost:
        [message] = messages_of(operator.get(restore_url(url(row), version), follow=True))
        assert message.startswith("Not restored: token is secret, so the history says only")
    response = preview(operator, row, int(offered))
    assert rows_of(response.content.decode()) == ['description "For the new shop" "For the shop"']
    operator.post(restore_url(url(row), int(offered)), confirmed(response))
    row.refresh_from_db()
    assert (row.value, row.description) == ("hunter3", "For the shop")


@pytest.mark.parametrize("version", ["", "x", "-1", "9" * 5000])
def test_invalid_version_is_not_found(version: str, operator: Client, flag: FeatureFlag) -> None:
    assert operator.get(url(flag), {"restore": version}).status_code == 404
    assert operator.get(url(flag), {"before": "9" * 5000}).status_code == 404


# Saves.


def test_save_and_toggles_with_disabled_triggers_are_written_and_an_undo_is_not(
    operator: Client, flag: FeatureFlag
) -> None:
    change = changes.flags.set_rollout("new_checkout", 30).version
    with disabled_triggers():
        [text] = messages_of(undo_by_page(operator, change))
        act(operator, url(flag, "rollout"), percent="50")
        assert state(flag) == (True, 50)
        kill(operator, flag)
        assert state(flag) == (False, 50)
        turn_on(operator, flag)
    assert state(flag) == (True, 50)
    assert text.startswith('Not saved: the history does not record "flagstaff_featureflag"')


# Values.


def test_secret_value_is_masked_and_has_no_undo(operator: Client) -> None:
    value = KeyValueStore.objects.create(key="token", value="hunter2", secret=True)
    changes.values.set("token", "hunter3")
    html = page(operator, url(value))
    changed, created = events_of(html)
    assert created.startswith("created, value ••••••, secret true ")
    assert changed.startswith("•••••• → •••••• ")
    assert "?undo=" not in html
    recent = page(operator, f"{RECENT}?key=token&action=change")
    assert "••••••" in recent
    assert "?undo=" not in recent
    for text in (
        html,
        recent,
        *(page(operator, f"{one}?format=csv") for one in (url(value), RECENT)),
    ):
        assert not re.search("hunter|sha256", text)


def test_recent_changes_without_an_entry_are_counted(operator: Client) -> None:
    changes.flags.create("new_checkout")
    with without_table("flagstaff_change"):
        changes.flags.set_rollout("new_checkout", 5)
        FeatureFlag.objects.update(rollout_percent=50)
    flag = FeatureFlag.objects.get()
    for address in (url(flag), "/admin/flagstaff/featureflag/changes/"):
        assert "2 recent changes are not in the history" in page(operator, address)
    rows("UPDATE flagstaff_token SET entry_missing = false")
    assert "not in the history" not in page(operator, url(flag))
