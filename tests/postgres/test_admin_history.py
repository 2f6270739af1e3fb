"""The history in the admin: who did what, a button that takes it back, and no save over another."""

from __future__ import annotations

import re
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
)
from flagstaff.history import flag_history, flag_version, value_history, value_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.admin_pages import FLAGS, VALUES, page, staff

# Where each change is a transaction of its own, as it is in life.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty_history() -> None:
    """A flush between tests leaves the history alone."""
    Change.objects.all().delete()


@pytest.fixture
def operator(admin_client: Client) -> Client:
    return admin_client


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=25)


CHANGED_SINCE = (
    "Changed since you opened this page: ana: enabled true → false. Save again to write over it."
)


def address(row: Any, what: str = "history") -> str:
    base = FLAGS if isinstance(row, FeatureFlag) else VALUES
    return f"{base}{row.pk}/{what}/"


def rows(html: str) -> list[str]:
    """The texts of the table, a line each."""
    [table] = re.findall(r"<tbody>(.*)</tbody>", html, re.DOTALL)
    lines = re.findall(r"<tr.*?>(.*?)</tr>", table, re.DOTALL)
    return [unescape(" ".join(strip_tags(line).split())) for line in lines]


def buttons(html: str) -> list[str]:
    return re.findall(r'name="(_undo|_restore)" value="\d+"', html)


def told(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def form(**changes: Any) -> dict[str, Any]:
    """What the page of the flag sends."""
    sent = {"key": "new_checkout", "enabled": "on", "rollout_percent": 25, "kind": "release"}
    return {**sent, "description": "", **changes}


# The page.


def test_page_tells_who_did_what_and_why(operator: Client, flag: FeatureFlag) -> None:
    alice = User.objects.create(username="alice")
    with acting_as(alice, reason="ticket 7"):
        set_rollout("new_checkout", 50)
    newest, oldest = rows(page(operator, address(flag)))
    assert "rollout_percent 25 → 50 alice code ticket 7" in newest
    assert 'created, enabled true, rollout_percent 25, kind "release"' in oldest
    assert "(database user)" in oldest


def test_text_of_others_is_never_markup(operator: Client, flag: FeatureFlag) -> None:
    with acting_as("<b>ana</b>", reason="<script>alert(1)</script>", source="<i>"):
        FeatureFlag.objects.update(description="<img src=x>")
    html = page(operator, address(flag))
    assert "<script>alert" not in html
    assert not re.search(r"<(b>ana|i>|img src=x)", html)


def test_allow_list_is_named_to_those_who_may_see_users(
    operator: Client, flag: FeatureFlag
) -> None:
    add_allowed_users("new_checkout", User.objects.create(username="alice"))
    assert "added 1 allowed user (alice)" in rows(page(operator, address(flag)))[0]
    clerk = staff("view_featureflag")
    assert "added 1 allowed user" in rows(page(clerk, address(flag)))[0]
    assert "alice" not in page(clerk, address(flag))
    alice = User.objects.get(username="alice").pk
    table = clerk.get(address(flag), {"format": "csv"}).content.decode()
    assert '"{""count"": 1, ""pks"": []}"' in table
    assert f'""pks"": [{alice}]' in operator.get(address(flag), {"format": "csv"}).content.decode()


def test_long_history_has_pages_and_few_queries(operator: Client, flag: FeatureFlag) -> None:
    for percent in range(60):
        set_rollout("new_checkout", percent)
    with CaptureQueriesContext(connection) as queries:
        html = page(operator, address(flag))
    assert len(queries) <= 20
    assert len(rows(html)) == 50
    [older] = re.findall(r'href="(\?before=\d+)"', html)
    assert len(rows(page(operator, address(flag) + older))) == 11


def test_viewer_sees_no_button_and_may_press_none(flag: FeatureFlag) -> None:
    change = set_rollout("new_checkout", 50).version
    viewer = staff("view_featureflag")
    assert buttons(page(viewer, address(flag))) == []
    for button in ("_undo", "_restore"):
        assert viewer.post(address(flag), {button: change}).status_code == 403
    flag.refresh_from_db()
    assert flag.rollout_percent == 50


def test_history_is_for_those_who_may_see_the_flag(flag: FeatureFlag) -> None:
    stranger = staff("view_keyvaluestore")
    assert stranger.get(address(flag)).status_code == 403
    assert stranger.post(address(flag), {"_undo": 1}).status_code == 403


def test_flag_that_is_not_there_has_no_history(operator: Client) -> None:
    response = operator.get(f"{FLAGS}77/history/")
    assert response.status_code == 302


# Taking back.


def test_button_takes_a_change_back(operator: Client, flag: FeatureFlag) -> None:
    change = set_rollout("new_checkout", 50).version
    disable("new_checkout")
    sent = {"_undo": change, "expect_version": flag_version("new_checkout"), "reason": "too soon"}
    response = operator.post(address(flag), sent, follow=True)
    assert told(response) == ["“new_checkout” is as it was."]
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (False, 25)
    [event, *_] = flag_history("new_checkout")
    admin = User.objects.get(username="admin")
    assert (event.actor, event.source, event.reason) == (str(admin.pk), "admin", "too soon")


def test_second_press_is_no_second_change(operator: Client, flag: FeatureFlag) -> None:
    change = set_rollout("new_checkout", 50).version
    sent = {"_undo": change, "expect_version": flag_version("new_checkout")}
    operator.post(address(flag), sent)
    version = flag_version("new_checkout")
    response = operator.post(address(flag), sent, follow=True)
    assert told(response)[-1] == "“new_checkout” is so already, nothing was changed."
    assert flag_version("new_checkout") == version


def test_press_over_a_newer_change_is_refused_in_words(operator: Client, flag: FeatureFlag) -> None:
    change = set_rollout("new_checkout", 50).version
    with acting_as("ana"):
        disable("new_checkout")
    response = operator.post(
        address(flag), {"_undo": change, "expect_version": change}, follow=True
    )
    [message] = told(response)
    assert f"not {change}; since then: ana at" in message
    flag.refresh_from_db()
    assert flag.rollout_percent == 50


def test_reason_that_no_page_lets_anybody_type_is_cut(operator: Client, flag: FeatureFlag) -> None:
    change = set_rollout("new_checkout", 50).version
    operator.post(address(flag), {"_undo": change, "reason": "\0why" + "x" * 1000})
    assert flag_history("new_checkout")[0].reason == "why" + "x" * 497


def test_refusal_where_nothing_is_written_down_is_told(operator: Client, flag: FeatureFlag) -> None:
    change = set_rollout("new_checkout", 50).version
    press = {"_undo": change, "expect_version": change}
    trigger = "TRIGGER flagstaff_history_update_v1"
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE flagstaff_featureflag DISABLE {trigger}")
        try:
            response = operator.post(address(flag), press, follow=True)
        finally:
            cursor.execute(f"ALTER TABLE flagstaff_featureflag ENABLE {trigger}")
    [text] = told(response)
    assert text.startswith('Refused: changes of "flagstaff_featureflag" leave no entry in')


def test_button_restores_a_version(operator: Client, flag: FeatureFlag) -> None:
    version = flag_version("new_checkout")
    alice = User.objects.create(username="alice")
    add_allowed_users("new_checkout", alice)
    set_rollout("new_checkout", 50)
    operator.post(address(flag), {"_restore": version})
    flag.refresh_from_db()
    assert (flag.rollout_percent, flag.allowed_users.count()) == (25, 0)


def test_creation_is_taken_back_by_those_only_who_may_delete() -> None:
    change = create("new_checkout").version
    flag = FeatureFlag.objects.get()
    clerk = staff("change_featureflag")
    assert "_undo" not in buttons(page(clerk, address(flag)))
    assert clerk.post(address(flag), {"_undo": change}).status_code == 403
    assert FeatureFlag.objects.exists()


def test_creation_is_no_other_change_by_any_of_its_entries() -> None:
    alice = User.objects.create(username="alice")
    create("new_checkout", allowed_users=[alice])
    flag = FeatureFlag.objects.get()
    clerk = staff("change_featureflag")
    for entry in Change.objects.filter(object_pk=flag.pk):
        assert clerk.post(address(flag), {"_undo": entry.pk}).status_code == 403
    assert flag.allowed_users.get() == alice


def test_creation_that_is_taken_back_leads_to_the_list(operator: Client) -> None:
    change = create("new_checkout").version
    response = operator.post(address(FeatureFlag.objects.get()), {"_undo": change})
    assert (response.status_code, response["Location"]) == (302, FLAGS)
    assert not FeatureFlag.objects.exists()


@pytest.mark.parametrize(
    "sent", [{"_undo": "x"}, {"_undo": ""}, {}, {"_restore": "-1"}, {"_undo": "9" * 5000}]
)
def test_press_of_nothing_is_not_found(
    sent: dict[str, str], operator: Client, flag: FeatureFlag
) -> None:
    assert operator.post(address(flag), sent).status_code == 404


def test_page_before_a_version_that_cannot_be_is_not_found(
    operator: Client, flag: FeatureFlag
) -> None:
    assert operator.get(address(flag), {"before": "9" * 5000}).status_code == 404


def test_look_takes_nothing_back(operator: Client, flag: FeatureFlag) -> None:
    change = set_rollout("new_checkout", 50).version
    operator.get(f"{address(flag)}?_undo={change}")
    assert flag_version("new_checkout") == change


def test_press_from_another_site_is_refused(admin_user: User, flag: FeatureFlag) -> None:
    change = set_rollout("new_checkout", 50).version
    operator = Client(enforce_csrf_checks=True)
    operator.force_login(admin_user)
    assert operator.post(address(flag), {"_undo": change}).status_code == 403
    html = page(operator, address(flag))
    [token] = re.findall(
        r'name="csrfmiddlewaretoken" value="(\w+)"', html.split('<form method="post">')[1]
    )
    assert (
        operator.post(address(flag), {"_undo": change, "csrfmiddlewaretoken": token}).status_code
        == 302
    )


# Saving.


def test_save_is_the_persons_and_has_a_reason(operator: Client, flag: FeatureFlag) -> None:
    alice = User.objects.create(username="alice")
    sent = form(rollout_percent=50, allowed_users=[alice.pk], reason="release 42")
    assert operator.post(address(flag, "change"), sent).status_code == 302
    event = flag_history("new_checkout")[0]
    admin = User.objects.get(username="admin")
    assert (event.actor, event.source, event.reason) == (str(admin.pk), "admin", "release 42")
    assert [one.field for one in event.differences] == ["rollout_percent"]
    assert event.added.pks == (alice.pk,)


def test_save_over_a_newer_change_is_refused_and_keeps_what_was_typed(
    operator: Client, flag: FeatureFlag
) -> None:
    html = page(operator, address(flag, "change"))
    [version] = re.findall(r'name="expect_version" value="(\d+)"', html)
    assert int(version) == flag_version("new_checkout")
    with acting_as("ana"):
        disable("new_checkout")
    sent = form(rollout_percent=50, expect_version=version)
    response = operator.post(address(flag, "change"), sent)
    assert response.context["adminform"].form.errors == {"__all__": [CHANGED_SINCE]}
    html = response.content.decode()
    assert re.search(r'name="rollout_percent" value="50"', html)
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (False, 25)
    [version] = re.findall(r'name="expect_version" value="(\d+)"', html)
    assert (
        operator.post(address(flag, "change"), {**sent, "expect_version": version}).status_code
        == 302
    )
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (True, 50)


def test_save_leaves_alone_what_was_not_touched(operator: Client, flag: FeatureFlag) -> None:
    """Where the form does not say which version it shows, as one of a script."""
    operator.post(address(flag, "change"), form(description="One page"))
    assert [one.field for one in flag_history("new_checkout")[0].differences] == ["description"]


def test_save_that_is_sent_twice_is_one_change(operator: Client, flag: FeatureFlag) -> None:
    sent = form(rollout_percent=50, expect_version=flag_version("new_checkout"))
    for _ in range(2):
        assert operator.post(address(flag, "change"), sent).status_code == 302
    assert len(flag_history("new_checkout")) == 2


def test_add_and_delete_are_the_persons(operator: Client) -> None:
    alice = User.objects.create(username="alice")
    operator.post(f"{FLAGS}add/", form(allowed_users=[alice.pk], reason="new"))
    flag = FeatureFlag.objects.get()
    assert list(flag.allowed_users.all()) == [alice]
    operator.post(address(flag, "delete"), {"post": "yes"})
    gone, made = flag_history("new_checkout")
    admin = str(User.objects.get(username="admin").pk)
    assert (gone.action, gone.actor, gone.source) == ("delete", admin, "admin")
    assert (made.action, made.actor, made.reason) == ("create", admin, "new")


def test_deletion_of_several_is_the_persons(operator: Client, flag: FeatureFlag) -> None:
    chosen = {"action": "delete_selected", "_selected_action": flag.pk, "post": "yes"}
    operator.post(FLAGS, chosen)
    assert flag_history("new_checkout")[0].source == "admin"


def test_switch_in_the_list_is_the_persons(operator: Client, flag: FeatureFlag) -> None:
    operator.post(FLAGS, {"_switch": f"off:{flag.pk}"})
    assert flag_history("new_checkout")[0].source == "admin"


def test_viewer_is_asked_for_no_reason(flag: FeatureFlag) -> None:
    assert 'name="reason"' not in page(staff("view_featureflag"), address(flag, "change"))


def test_clerk_is_asked_for_a_reason(flag: FeatureFlag) -> None:
    assert 'name="reason"' in page(staff("change_featureflag"), address(flag, "change"))


# Values.


def test_value_has_its_history_too(operator: Client) -> None:
    operator.post(f"{VALUES}add/", {"key": "gateway", "value": '"stripe"', "description": ""})
    entry = KeyValueStore.objects.get()
    sent = {"key": "gateway", "value": '"paypal"', "description": "", "reason": "cheaper"}
    operator.post(address(entry, "change"), {**sent, "expect_version": value_version("gateway")})
    newest, oldest = rows(page(operator, address(entry)))
    assert 'value "stripe" → "paypal" admin admin cheaper' in newest
    assert 'created, value "stripe"' in oldest
    operator.post(address(entry), {"_undo": value_version("gateway")})
    entry.refresh_from_db()
    assert entry.value == "stripe"
    operator.post(address(entry, "delete"), {"post": "yes"})
    assert value_history("gateway")[0].action == "delete"


def test_value_that_somebody_changed_is_not_overwritten(operator: Client) -> None:
    entry = KeyValueStore.objects.create(key="gateway", value="stripe")
    version = value_version("gateway")
    set_value("gateway", "paypal")
    sent = {"key": "gateway", "value": '"adyen"', "description": "", "expect_version": version}
    assert (
        "Changed since you opened this page"
        in operator.post(address(entry, "change"), sent).content.decode()
    )
    entry.refresh_from_db()
    assert entry.value == "paypal"


def test_secret_is_masked_and_has_no_undo(operator: Client) -> None:
    entry = KeyValueStore.objects.create(key="token", value="hunter2")
    KeyValueStore.objects.update(secret=True)
    set_value("token", "hunter3")
    html = page(operator, address(entry))
    assert "value •••••• → ••••••" in html
    for text in ("hunter", "sha256"):
        assert text not in html
        assert text not in operator.get(address(entry), {"format": "csv"}).content.decode()
    change = value_version("token")
    response = operator.post(address(entry), {"_undo": change}, follow=True)
    assert told(response) == [
        (
            "Refused: the history keeps only a digest of token, because it is secret; "
            "set it again by hand"
        )
    ]


def test_history_of_a_flag_that_came_back_goes_on(operator: Client, flag: FeatureFlag) -> None:
    delete("new_checkout")
    undo("new_checkout")
    assert len(rows(page(operator, address(flag)))) == 3
