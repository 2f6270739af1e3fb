"""The history in the admin: events, undo, restore, attribution."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags

from flagstaff import acting_as
from flagstaff.changes import (
    add_allowed_users,
    create,
    delete,
    disable,
    set_rollout,
    set_value,
    undo,
    update,
    update_value,
)
from flagstaff.history import flag_history, flag_version, value_history, value_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.admin_pages import (
    FLAGS,
    VALUES,
    form_data,
    kill,
    messages_of,
    page,
    post_confirmed,
    staff,
    turn_on,
)

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty_history() -> None:
    """Deletes the entries of other tests: a flush keeps them."""
    Change.objects.all().delete()


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=25)


def url(row: Any, view: str = "history") -> str:
    base = FLAGS if isinstance(row, FeatureFlag) else VALUES
    return f"{base}{row.pk}/{view}/"


def rows(html: str) -> list[str]:
    """Returns the text of each row of the table."""
    [table] = re.findall(r"<tbody>(.*)</tbody>", html, re.DOTALL)
    lines = re.findall(r"<tr.*?>(.*?)</tr>", table, re.DOTALL)
    return [unescape(" ".join(strip_tags(line).split())) for line in lines]


def buttons(html: str) -> list[str]:
    return re.findall(r'name="(_undo|_restore)" value="\d+"', html)


def form(**changes: Any) -> dict[str, Any]:
    """Returns the data of the flag's form."""
    data = {"key": "new_checkout", "enabled": "on", "rollout_percent": 25, "kind": "release"}
    return {**data, "description": "", **changes}


@contextmanager
def disabled_triggers() -> Iterator[None]:
    """Disables a trigger of the history while the block runs."""
    trigger = "TRIGGER flagstaff_history_update_v1"
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE flagstaff_featureflag DISABLE {trigger}")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE flagstaff_featureflag ENABLE {trigger}")


# The page.


def test_page_shows_change_actor_source_and_reason(operator: Client, flag: FeatureFlag) -> None:
    alice = User.objects.create(username="alice")
    with acting_as(alice, reason="ticket 7"):
        set_rollout("new_checkout", 50)
    newest, oldest = rows(page(operator, url(flag)))
    assert "rollout_percent 25 → 50 alice code ticket 7" in newest
    assert 'created, enabled true, rollout_percent 25, kind "release"' in oldest
    assert "(database user)" in oldest


def test_url_in_a_reason_is_a_link(operator: Client, flag: FeatureFlag) -> None:
    ticket = "https://tickets.example.com/OPS-7"
    with acting_as("ana", reason=f"see {ticket}"):
        set_rollout("new_checkout", 50)
    for view in ("history", "change"):
        html = page(operator, url(flag, view))
        assert f'see <a href="{ticket}" rel="noreferrer">{ticket}</a></td>' in html


def test_texts_of_history_are_escaped(operator: Client, flag: FeatureFlag) -> None:
    with acting_as("<b>ana</b>", reason="<script>alert(1)</script>", source="<i>"):
        FeatureFlag.objects.update(description="<img src=x>")
    html = page(operator, url(flag))
    assert "<script>alert" not in html
    assert not re.search(r"<(b>ana|i>|img src=x)", html)


def test_allowed_users_are_named_with_view_user_permission_only(
    operator: Client, flag: FeatureFlag
) -> None:
    add_allowed_users("new_checkout", User.objects.create(username="alice"))
    assert "added 1 allowed user (alice)" in rows(page(operator, url(flag)))[0]
    editor = staff("view_featureflag")
    assert "added 1 allowed user" in rows(page(editor, url(flag)))[0]
    assert "alice" not in page(editor, url(flag))
    alice = User.objects.get(username="alice").pk
    table = editor.get(url(flag), {"format": "csv"}).content.decode()
    assert '"{""count"": 1, ""pks"": []}"' in table
    assert f'""pks"": [{alice}]' in operator.get(url(flag), {"format": "csv"}).content.decode()


def test_long_history_is_paginated_with_few_queries(operator: Client, flag: FeatureFlag) -> None:
    for percent in range(60):
        set_rollout("new_checkout", percent)
    with CaptureQueriesContext(connection) as queries:
        html = page(operator, url(flag))
    assert len(queries) <= 20
    assert len(rows(html)) == 50
    [older] = re.findall(r'href="(\?before=\d+)"', html)
    assert len(rows(page(operator, url(flag) + older))) == 11


def test_history_without_change_permission_rejects_undo_and_restore(flag: FeatureFlag) -> None:
    change = set_rollout("new_checkout", 50).version
    viewer = staff("view_featureflag")
    assert buttons(page(viewer, url(flag))) == []
    for button in ("_undo", "_restore"):
        assert viewer.post(url(flag), {button: change}).status_code == 403
    flag.refresh_from_db()
    assert flag.rollout_percent == 50


def test_history_needs_view_permission(flag: FeatureFlag) -> None:
    other_staff = staff("view_keyvaluestore")
    assert other_staff.get(url(flag)).status_code == 403
    assert other_staff.post(url(flag), {"_undo": 1}).status_code == 403


def test_history_of_missing_flag_redirects(operator: Client) -> None:
    response = operator.get(f"{FLAGS}77/history/")
    assert response.status_code == 302


# Undo and restore.


def test_undo_button_undoes_one_change(operator: Client, flag: FeatureFlag) -> None:
    change = set_rollout("new_checkout", 50).version
    disable("new_checkout")
    data = {"_undo": change, "expect_version": flag_version("new_checkout"), "_reason": "too soon"}
    response = operator.post(url(flag), data, follow=True)
    [message] = messages_of(response)
    assert message.startswith("The change of “new_checkout” was undone: rollout_percent 50 → 25.")
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (False, 25)
    [event, *_] = flag_history("new_checkout")
    admin = User.objects.get(username="admin")
    assert (event.actor, event.source, event.reason) == (str(admin.pk), "admin", "too soon")


def test_second_undo_changes_nothing(operator: Client, flag: FeatureFlag) -> None:
    change = set_rollout("new_checkout", 50).version
    data = {"_undo": change, "expect_version": flag_version("new_checkout")}
    operator.post(url(flag), data)
    version = flag_version("new_checkout")
    response = operator.post(url(flag), data, follow=True)
    assert (
        messages_of(response)[-1] == "Nothing was changed: “new_checkout” already has these values."
    )
    assert flag_version("new_checkout") == version


def test_undo_with_old_version_shows_newer_change(operator: Client, flag: FeatureFlag) -> None:
    change = set_rollout("new_checkout", 50).version
    with acting_as("ana"):
        disable("new_checkout")
    response = operator.post(url(flag), {"_undo": change, "expect_version": change}, follow=True)
    [message] = messages_of(response)
    assert f"but version {change} was expected; changes after version {change}: ana at" in message
    assert message.endswith(
        ": enabled true → false. The page now shows the present state; press the button again."
    )
    flag.refresh_from_db()
    assert flag.rollout_percent == 50
    data = {"_undo": change, "expect_version": flag_version("new_checkout")}
    operator.post(url(flag), data)
    flag.refresh_from_db()
    assert flag.rollout_percent == 25


def test_undo_message_without_view_user_permission_counts_users(flag: FeatureFlag) -> None:
    change = add_allowed_users("new_checkout", User.objects.create(username="alice")).version
    response = staff("change_featureflag").post(url(flag), {"_undo": change}, follow=True)
    [message] = messages_of(response)
    assert message.startswith("The change of “new_checkout” was undone: removed 1 allowed user.")


def test_undo_message_truncates_long_texts(operator: Client, flag: FeatureFlag) -> None:
    change = update("new_checkout", {"description": "x" * 10_000}).version
    [message] = messages_of(operator.post(url(flag), {"_undo": change}, follow=True))
    assert '… (9,882 more characters) → "".' in message
    assert len(message) < 400


def test_long_reason_is_truncated(operator: Client, flag: FeatureFlag) -> None:
    change = set_rollout("new_checkout", 50).version
    operator.post(url(flag), {"_undo": change, "_reason": "\0why" + "x" * 1000})
    assert flag_history("new_checkout")[0].reason == "why" + "x" * 497


def test_undo_with_disabled_triggers_shows_error(operator: Client, flag: FeatureFlag) -> None:
    change = set_rollout("new_checkout", 50).version
    data = {"_undo": change, "expect_version": change}
    with disabled_triggers():
        response = operator.post(url(flag), data, follow=True)
    [text] = messages_of(response)
    assert text.startswith('Not saved: the history does not record "flagstaff_featureflag"')


def preview(client: Client, row: Any, version: int | None) -> Any:
    """Presses a Restore button and returns the confirmation page."""
    response = client.post(url(row), {"_restore": version})
    assert response.status_code == 200
    return response


def confirmed(response: Any, button: str = "_restore") -> dict[str, Any]:
    """Returns what a browser would post for a confirmation page."""
    html = response.content.decode().split('<form method="post">')[1]
    data = dict(re.findall(r'name="([^"]+)"[^>]* value="([^"]*)"', html))
    assert (button in data, data["_confirmed"]) == (True, "1")
    return data


def test_restore_button_shows_each_field_and_writes_nothing(
    operator: Client, flag: FeatureFlag
) -> None:
    version = flag_version("new_checkout")
    add_allowed_users("new_checkout", User.objects.create(username="alice"))
    update("new_checkout", {"rollout_percent": 50, "description": "<b>One</b> page"})
    newest = flag_version("new_checkout")
    response = preview(operator, flag, version)
    html = response.content.decode()
    assert rows(html) == [
        "rollout_percent 50 25",
        'description "<b>One</b> page" ""',
        "allowed_users 1 user 0 users: removed 1 allowed user (alice)",
    ]
    assert "<b>One" not in html
    assert "Restore “new_checkout” to its state after the change of " in html
    assert "? This reverts all later changes of these fields." in html
    assert flag_version("new_checkout") == newest


def test_confirmed_restore_restores_version_with_reason(
    operator: Client, flag: FeatureFlag
) -> None:
    version = flag_version("new_checkout")
    alice = User.objects.create(username="alice")
    add_allowed_users("new_checkout", alice)
    set_rollout("new_checkout", 50)
    data = {**confirmed(preview(operator, flag, version)), "_reason": "orders fail"}
    response = operator.post(url(flag), data, follow=True)
    [message] = messages_of(response)
    assert message.startswith(
        "“new_checkout” was restored: rollout_percent 50 → 25, removed 1 allowed user (alice)."
    )
    flag.refresh_from_db()
    assert (flag.rollout_percent, flag.allowed_users.count()) == (25, 0)
    assert flag_history("new_checkout")[0].reason == "orders fail"


def test_confirmed_restore_over_newer_change_is_rejected(
    operator: Client, flag: FeatureFlag
) -> None:
    version = flag_version("new_checkout")
    set_rollout("new_checkout", 50)
    data = confirmed(preview(operator, flag, version))
    disable("new_checkout")
    response = operator.post(url(flag), data, follow=True)
    assert messages_of(response)[0].startswith("Not saved: new_checkout has version")
    flag.refresh_from_db()
    assert flag.rollout_percent == 50


def test_restore_of_present_state_asks_nothing(operator: Client, flag: FeatureFlag) -> None:
    version = flag_version("new_checkout")
    set_rollout("new_checkout", 50)
    set_rollout("new_checkout", 25)
    response = operator.post(url(flag), {"_restore": version}, follow=True)
    assert messages_of(response) == [
        "Nothing was changed: “new_checkout” already has these values."
    ]


def test_preview_of_restore_counts_users_without_view_user_permission(flag: FeatureFlag) -> None:
    version = flag_version("new_checkout")
    add_allowed_users("new_checkout", User.objects.create(username="alice"))
    html = preview(staff("change_featureflag"), flag, version).content.decode()
    assert rows(html) == ["allowed_users 1 user 0 users: removed 1 allowed user"]


def secret_versions() -> tuple[KeyValueStore, list[int]]:
    """Returns a secret value and its versions: created, described, and another value."""
    row = KeyValueStore.objects.create(key="token", value="hunter2", secret=True)
    versions = [value_version("token")]
    update_value("token", {"description": "For the shop"})
    versions.append(value_version("token"))
    set_value("token", "hunter3")
    update_value("token", {"description": "For the new shop"})
    return row, [version or 0 for version in versions]


def test_version_with_another_secret_value_has_no_restore(operator: Client) -> None:
    row, lost = secret_versions()
    offered = re.findall(r'name="_restore" value="(\d+)"', page(operator, url(row)))
    assert len(offered) == 1
    assert not {str(version) for version in lost} & {*offered}
    for version in lost:
        response = operator.post(url(row), {"_restore": version}, follow=True)
        [message] = messages_of(response)
        assert message.startswith("Not saved: the history stores only a digest of token")


def test_version_with_same_secret_value_can_be_restored(operator: Client) -> None:
    row, _lost = secret_versions()
    [offered] = re.findall(r'name="_restore" value="(\d+)"', page(operator, url(row)))
    response = preview(operator, row, int(offered))
    assert rows(response.content.decode()) == ['description "For the new shop" "For the shop"']
    operator.post(url(row), confirmed(response))
    row.refresh_from_db()
    assert (row.value, row.description) == ("hunter3", "For the shop")


def test_value_from_before_it_was_secret_is_masked_in_preview(operator: Client) -> None:
    row = KeyValueStore.objects.create(key="token", value="hunter2")
    version = value_version("token")
    set_value("token", "hunter3")
    KeyValueStore.objects.update(secret=True)
    html = preview(operator, row, version).content.decode()
    assert "value •••••• ••••••" in rows(html)
    assert "hunter" not in html


def test_undo_of_creation_needs_delete_permission() -> None:
    change = create("new_checkout").version
    flag = FeatureFlag.objects.get()
    editor = staff("change_featureflag")
    assert "_undo" not in buttons(page(editor, url(flag)))
    assert editor.post(url(flag), {"_undo": change}).status_code == 403
    assert FeatureFlag.objects.exists()


def test_undo_of_any_entry_of_creation_needs_delete_permission() -> None:
    alice = User.objects.create(username="alice")
    create("new_checkout", allowed_users=[alice])
    flag = FeatureFlag.objects.get()
    editor = staff("change_featureflag")
    for entry in Change.objects.filter(object_pk=flag.pk):
        assert editor.post(url(flag), {"_undo": entry.pk}).status_code == 403
    assert flag.allowed_users.get() == alice


def test_undo_of_creation_redirects_to_list(operator: Client) -> None:
    change = create("new_checkout").version
    data = {"_undo": change}
    response = post_confirmed(operator, url(FeatureFlag.objects.get()), data)
    assert (response.status_code, response["Location"]) == (302, FLAGS)
    assert not FeatureFlag.objects.exists()


@pytest.mark.parametrize(
    "data", [{"_undo": "x"}, {"_undo": ""}, {}, {"_restore": "-1"}, {"_undo": "9" * 5000}]
)
def test_invalid_version_in_post_is_not_found(
    data: dict[str, str], operator: Client, flag: FeatureFlag
) -> None:
    assert operator.post(url(flag), data).status_code == 404


def test_invalid_version_in_query_is_not_found(operator: Client, flag: FeatureFlag) -> None:
    assert operator.get(url(flag), {"before": "9" * 5000}).status_code == 404


def test_get_request_with_undo_changes_nothing(operator: Client, flag: FeatureFlag) -> None:
    change = set_rollout("new_checkout", 50).version
    operator.get(f"{url(flag)}?_undo={change}")
    assert flag_version("new_checkout") == change


def test_undo_without_csrf_token_is_rejected(admin_user: User, flag: FeatureFlag) -> None:
    change = set_rollout("new_checkout", 50).version
    operator = Client(enforce_csrf_checks=True)
    operator.force_login(admin_user)
    assert operator.post(url(flag), {"_undo": change}).status_code == 403
    html = page(operator, url(flag))
    [token] = re.findall(
        r'name="csrfmiddlewaretoken" value="(\w+)"', html.split('<form method="post">')[1]
    )
    data = {"_undo": change, "csrfmiddlewaretoken": token}
    assert operator.post(url(flag), data).status_code == 302


# Saves.


def test_save_records_actor_source_and_reason(operator: Client, flag: FeatureFlag) -> None:
    data = form(rollout_percent=50, _reason="release 42")
    assert post_confirmed(operator, url(flag, "change"), data).status_code == 302
    event = flag_history("new_checkout")[0]
    admin = User.objects.get(username="admin")
    assert (event.actor, event.source, event.reason) == (str(admin.pk), "admin", "release 42")
    assert [difference.field for difference in event.differences] == ["rollout_percent"]


def test_save_changes_only_fields_that_differ(operator: Client, flag: FeatureFlag) -> None:
    operator.post(url(flag, "change"), form(description="One page"))
    assert [one.field for one in flag_history("new_checkout")[0].differences] == ["description"]


def test_save_with_disabled_triggers_is_written(operator: Client, flag: FeatureFlag) -> None:
    data = form(rollout_percent=50)
    with disabled_triggers():
        assert post_confirmed(operator, url(flag, "change"), data).status_code == 302
    flag.refresh_from_db()
    assert flag.rollout_percent == 50


def test_toggles_with_disabled_triggers_are_written(operator: Client, flag: FeatureFlag) -> None:
    with disabled_triggers():
        kill(operator, flag)
        flag.refresh_from_db()
        assert flag.enabled is False
        turn_on(operator, flag)
    flag.refresh_from_db()
    assert flag.enabled is True


def test_save_sent_twice_is_one_change(operator: Client, flag: FeatureFlag) -> None:
    data = form_data(operator.get(url(flag, "change"))) | {"rollout_percent": 50}
    for _ in range(2):
        assert post_confirmed(operator, url(flag, "change"), data).status_code == 302
    assert len(flag_history("new_checkout")) == 2


def test_add_and_delete_record_actor(operator: Client) -> None:
    alice = User.objects.create(username="alice")
    data = form(allowed_users=[alice.pk], _reason="new")
    post_confirmed(operator, f"{FLAGS}add/", data)
    flag = FeatureFlag.objects.get()
    assert list(flag.allowed_users.all()) == [alice]
    operator.post(url(flag, "delete"), {"post": "yes"})
    deleted, created = flag_history("new_checkout")
    admin = str(User.objects.get(username="admin").pk)
    assert (deleted.action, deleted.actor, deleted.source) == ("delete", admin, "admin")
    assert (created.action, created.actor, created.reason) == ("create", admin, "new")


def test_delete_action_records_source(operator: Client, flag: FeatureFlag) -> None:
    data = {"action": "delete_selected", "_selected_action": flag.pk, "post": "yes"}
    operator.post(FLAGS, data)
    assert flag_history("new_checkout")[0].source == "admin"


def test_kill_records_source(operator: Client, flag: FeatureFlag) -> None:
    kill(operator, flag)
    assert flag_history("new_checkout")[0].source == "admin"


def test_page_without_change_permission_has_no_reason_field(flag: FeatureFlag) -> None:
    assert 'name="_reason"' not in page(staff("view_featureflag"), url(flag, "change"))


def test_page_with_change_permission_has_reason_field(flag: FeatureFlag) -> None:
    assert 'name="_reason"' in page(staff("change_featureflag"), url(flag, "change"))


# Values.


def test_value_has_history_with_undo(operator: Client) -> None:
    operator.post(f"{VALUES}add/", {"key": "gateway", "value": '"stripe"', "description": ""})
    value = KeyValueStore.objects.get()
    data = {"key": "gateway", "value": '"paypal"', "description": "", "_reason": "cheaper"}
    operator.post(url(value, "change"), data)
    newest, oldest = rows(page(operator, url(value)))
    assert 'value "stripe" → "paypal" admin admin cheaper' in newest
    assert 'created, value "stripe"' in oldest
    operator.post(url(value), {"_undo": value_version("gateway")})
    value.refresh_from_db()
    assert value.value == "stripe"
    operator.post(url(value, "delete"), {"post": "yes"})
    assert value_history("gateway")[0].action == "delete"


@pytest.mark.parametrize("value", [0, False, "", []])
def test_created_falsy_value_is_in_history(value: object, operator: Client) -> None:
    row = KeyValueStore.objects.create(key="gateway", value=value)
    assert f"created, value {json.dumps(value)}" in rows(page(operator, url(row)))[0]


def test_created_secret_value_is_masked_in_history(operator: Client) -> None:
    row = KeyValueStore.objects.create(key="token", value="hunter2", secret=True)
    assert "created, value ••••••" in rows(page(operator, url(row)))[0]


def test_secret_value_is_masked_and_has_no_undo(operator: Client) -> None:
    value = KeyValueStore.objects.create(key="token", value="hunter2")
    KeyValueStore.objects.update(secret=True)
    set_value("token", "hunter3")
    html = page(operator, url(value))
    assert "value •••••• → ••••••" in html
    for text in ("hunter", "sha256"):
        assert text not in html
        assert text not in operator.get(url(value), {"format": "csv"}).content.decode()
    change = value_version("token")
    response = operator.post(url(value), {"_undo": change}, follow=True)
    assert messages_of(response) == [
        (
            "Not saved: the history stores only a digest of token, because it is secret; "
            'enter the value again with "manage.py flags value set token -"'
        )
    ]


def test_history_continues_after_undo_of_deletion(operator: Client, flag: FeatureFlag) -> None:
    delete("new_checkout")
    undo("new_checkout")
    assert len(rows(page(operator, url(flag)))) == 3


# The undo after a deletion.


def test_message_after_delete_names_the_undo(operator: Client, flag: FeatureFlag) -> None:
    response = operator.post(url(flag, "delete"), {"post": "yes"}, follow=True)
    version = flag_history("new_checkout")[0].version
    assert messages_of(response) == [
        f"To create “new_checkout” again, run: manage.py flags undo new_checkout {version}",
        "The feature flag “new_checkout” was deleted successfully.",
    ]


def test_message_after_delete_of_several_names_the_undo(
    operator: Client, flag: FeatureFlag
) -> None:
    banner = FeatureFlag.objects.create(key="banner")
    data = {"action": "delete_selected", "_selected_action": [flag.pk, banner.pk], "post": "yes"}
    response = operator.post(FLAGS, data, follow=True)
    newest = flag_history("banner")[0].version
    assert messages_of(response)[0] == (
        "To create “new_checkout”, “banner” again, run: "
        f"manage.py flags undo --transaction {newest}"
    )


def test_message_after_delete_of_secret_value_names_no_undo(operator: Client) -> None:
    value = KeyValueStore.objects.create(key="token", value="hidden", secret=True)
    response = operator.post(url(value, "delete"), {"post": "yes"}, follow=True)
    assert messages_of(response) == ["The value “token” was deleted successfully."]
