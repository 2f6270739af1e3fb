"""The page of an undo: of one change, of chosen ones, of a transaction, or of a restore."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from flagstaff import acting_as, changes
from flagstaff.history import flag_version, value_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.admin_pages import (
    FLAGS,
    RECENT,
    VALUES,
    act,
    asks,
    confirmed,
    count_queries,
    errors_of,
    flag_url,
    kill,
    messages_of,
    notes_of,
    page,
    permit,
    problems_of,
    production,
    restore_url,
    staff,
    state,
    text_of,
    text_to_type,
    turn_on,
    undo,
    undo_all_url,
    undo_at,
    undo_url,
    undo_urls,
)
from tests.support.history import all_events, flag_history
from tests.support.history_fixtures import GERMAN, disabled_triggers
from tests.support.screen import Screen
from tests.support.sql import rows as execute
from tests.support.sql import statements_of

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

KEY = "new_checkout"
USERS = 100
STAFF = [{"attribute": "is_staff", "operator": "in", "values": [True]}]
EVERYBODY = [{"attribute": "is_authenticated", "operator": "in", "values": [True]}]


@pytest.fixture
def flag(operator: Client) -> FeatureFlag:
    User.objects.bulk_create([User(username=f"user{number}") for number in range(USERS - 1)])
    return FeatureFlag.objects.create(key=KEY, enabled=True, rollout_percent=25)


@pytest.fixture
def gateway() -> KeyValueStore:
    return KeyValueStore.objects.create(key="gateway", value="stripe")


def lines_of(response: Any) -> dict[str, list[str]]:
    """Returns what is now and what is afterwards, by field, or by key for several rows."""
    table = Screen(response).all("#content table")[0]
    return {field: sides for field, *sides in table.rows}


def stored() -> tuple[int, object]:
    return FeatureFlag.objects.get(key=KEY).rollout_percent, KeyValueStore.objects.get().value


# One change.


def test_undo_of_a_kill_is_shown_written_and_undone_itself(
    operator: Client, flag: FeatureFlag
) -> None:
    [url] = undo_urls(kill(operator, flag))
    assert url == undo_url(flag_version(KEY))
    response = operator.get(url)
    assert lines_of(response)["enabled"] == ["false", "true"]
    assert state(flag) == (False, 25)
    response = operator.post(url, confirmed(response), follow=True)
    assert response.redirect_chain == [(flag_url(flag), 302)]
    assert messages_of(response)[0].startswith(
        "The change of “new_checkout” was undone: turned on."
    )
    assert state(flag) == (True, 25)
    *_others, url = undo_urls(response)
    undo_at(operator, url)
    assert state(flag) == (False, 25)


def test_undo_is_logged_by_the_admin_of_the_kind(
    operator: Client, gateway: KeyValueStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[object, str]] = []
    # As a project's own admin of values may do.
    monkeypatch.setattr(
        admin.site.get_model_admin(KeyValueStore),
        "log_change",
        lambda _request, row, message: logged.append((row, message)),
    )
    changes.values.set("gateway", "adyen")
    undo(operator, value_version("gateway"))
    [(row, message)] = logged
    assert row == gateway
    assert message.startswith("The change of “gateway” was undone: ")


def test_undo_counts_the_users_and_returns_to_the_filtered_list(
    operator: Client, admin_user: User, flag: FeatureFlag
) -> None:
    changes.flags.set_rollout(KEY, 0)
    html = page(operator, f"{RECENT}?kind=flag&actor=")
    url = Screen(html).attributes('a[href*="?undo="]', "href")[0]
    response = operator.get(url)
    assert ">Recent changes</a>" in response.content.decode()
    lines = lines_of(response)
    assert lines["rollout"] == ["0 %", "25 %"]
    assert lines["who has the flag"][1] == "On for 25 % of all users."
    before, after = lines["users with the flag"]
    assert before == "0 of 100"
    assert re.fullmatch(r"\d+ of 100", after)
    [note] = notes_of(response)
    assert re.fullmatch(
        r"0 → 25 %: \d+ users gain the flag\. Afterwards \d+ of 100 users have it\.", note
    )
    response = undo_at(operator, url, _reason="too low")
    assert note in messages_of(response)[0]
    assert response.redirect_chain[-1][0] == f"{RECENT}?kind=flag&actor="
    assert state(flag) == (True, 25)
    event = flag_history(KEY)[0]
    assert (event.actor, event.source, event.reason) == (str(admin_user.pk), "admin", "too low")


def changed_again() -> str:
    version = changes.flags.set_rollout(KEY, 80).version
    changes.flags.set_rollout(KEY, 70)
    return undo_url(version)


def secret() -> str:
    changes.values.create("token", "hunter2", secret=True)
    return undo_url(changes.values.set("token", "hunter3").version)


def secret_before() -> str:
    version = changes.values.create("token", "hunter2", secret=True).version
    changes.values.set("token", "hunter3")
    return restore_url(version)


def transaction_changed_again() -> str:
    with transaction.atomic():
        changes.values.set("gateway", "adyen")
        version = changes.flags.set_rollout(KEY, 80).version
    changes.flags.set_rollout(KEY, 70)
    return undo_all_url(version)


def newest() -> str:
    return restore_url(changes.flags.set_rollout(KEY, 80).version)


AGAIN = "new_checkout: rollout was changed again and is 70 % now"
SECRET = "token is secret, so the history does not have its old value; enter it again with"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (changed_again, f"Cannot be undone: {AGAIN}"),
        (newest, "There is nothing to undo."),
        (secret, f'Cannot be undone: {SECRET} "manage.py flags value set token -"'),
        (secret_before, f"Cannot be undone: {SECRET}"),
        (transaction_changed_again, f"Cannot be undone: {AGAIN}"),
    ],
)
def test_undo_that_is_not_possible_says_why_and_has_no_button(
    change: Callable[[], str], text: str, operator: Client, flag: FeatureFlag, gateway: object
) -> None:
    url = change()
    entries = Change.objects.count()
    for response in (operator.get(url), operator.post(url, {"_confirmed": "1"})):
        assert text in text_of(response.content.decode())
        assert not asks(response)
    assert Change.objects.count() == entries


def test_change_that_was_changed_again_leads_to_the_states_that_can_be_restored(
    operator: Client, flag: FeatureFlag
) -> None:
    url = Screen(page(operator, changed_again())).link("Restore an earlier state")
    assert "Restore…" in page(operator, url)


def test_conflict_of_one_row_refuses_all_and_can_be_left_out(
    operator: Client, flag: FeatureFlag, gateway: KeyValueStore
) -> None:
    url = transaction_changed_again()
    html = page(operator, url)
    assert "Nothing can be undone, because some of these changes cannot be." in html
    undo_at(operator, Screen(html).link("Leave out what cannot be undone"))
    assert stored() == (70, "stripe")


def test_unknown_change_is_a_message_and_no_version_is_not_found(operator: Client) -> None:
    for name in ("undo", "restore"):
        for version in ("987654321", "9" * 18):
            response = operator.get(RECENT, {name: version}, follow=True)
            text = f"Not undone: the history has no version {version}"
            assert text in str(messages_of(response))
        for version in ("x", "-1", "9" * 5000, "\0", "all"):
            assert operator.get(RECENT, {name: version}).status_code == 404
    # Nothing is selected: the filters are kept.
    response = operator.get(RECENT, {"back": f"{RECENT}?kind=flag"}, follow=True)
    assert response.redirect_chain == [(f"{RECENT}?kind=flag", 302)]
    assert "First select the changes that you want to undo." in str(messages_of(response))


def test_get_locks_and_writes_nothing_and_makes_few_queries(
    operator: Client, flag: FeatureFlag, gateway: KeyValueStore
) -> None:
    with transaction.atomic():
        changes.values.set("gateway", "adyen")
        changes.flags.delete(KEY)
        version = changes.segments.create("staff", STAFF).version
    for url in (undo_all_url(version), restore_url(value_version("gateway"))):
        found = "".join(statements_of(partial(page, operator, url)))
        assert not re.search(r"INSERT|UPDATE|DELETE|LOCK|SAVEPOINT", found)
    # Beside those of the session and the user: 20.
    changes.flags.create("other")
    url = undo_url(changes.flags.set_rollout("other", 50).version)
    assert count_queries(operator, url) <= 22


def test_long_texts_are_truncated_in_the_message_and_the_reason(
    operator: Client, flag: FeatureFlag
) -> None:
    change = changes.flags.update(KEY, {"description": "x" * 10_000}).version
    [message] = messages_of(undo(operator, change, _reason="\0why" + "x" * 1000))
    assert '… (9,882 more characters) → "".' in message
    assert len(message) < 400
    assert flag_history(KEY)[0].reason == "why" + "x" * 497


def test_actions_without_triggers_are_written_and_an_undo_is_not(
    operator: Client, flag: FeatureFlag
) -> None:
    change = changes.flags.set_rollout(KEY, 30).version
    with disabled_triggers():
        [text] = errors_of(undo(operator, change))
        assert state(flag) == (True, 30)
        act(operator, flag_url(flag, "rollout"), percent="50")
        kill(operator, flag)
        assert state(flag) == (False, 50)
        turn_on(operator, flag)
    assert state(flag) == (True, 50)
    assert text.startswith('the history does not record "flagstaff_featureflag"')


# Creations and deletions.


@pytest.mark.parametrize("typed", ["", "banner"], ids=["other", "production"])
def test_undo_of_a_creation_asks_to_delete(typed: str, operator: Client, settings: Any) -> None:
    if typed:
        production(settings)
    url = undo_url(changes.flags.create("banner").version)
    response = operator.get(url)
    assert (notes_of(response), text_to_type(response)) == (["This deletes “banner”."], typed)
    if typed:
        response = operator.post(url, confirmed(response, _typed_key="x"))
        assert problems_of(response) == ["Not confirmed: type “banner” exactly."]
    assert FeatureFlag.objects.exists()
    response = operator.post(url, confirmed(response, _typed_key=typed), follow=True)
    assert messages_of(response) == ["“banner” was deleted."]
    assert response.redirect_chain == [(FLAGS, 302)]
    assert not FeatureFlag.objects.exists()


@pytest.mark.usefixtures("unused")
def test_deleted_flag_is_brought_back_with_its_users(operator: Client, flag: FeatureFlag) -> None:
    alice = User.objects.create(username="alice")
    changes.flags.allow(KEY, alice)
    url = undo_url(changes.flags.delete(KEY).version)
    assert "Bring back…" in page(operator, RECENT)
    who = "On for 25 % of all users and 1 allowed user."
    lines = lines_of(operator.get(url))
    assert lines["new_checkout"] == ["", "created again, as it was before"]
    assert lines["who has the flag"] == ["", who]
    response = undo_at(operator, url)
    [message] = messages_of(response)
    assert f"“new_checkout” was created again, as it was before. {who}" in message
    again = FeatureFlag.objects.get()
    assert response.redirect_chain == [(flag_url(again), 302)]
    assert (again.pk, again.rollout_percent, [*again.allowed_users.all()]) == (flag.pk, 25, [alice])


# Several changes.


def test_all_changes_of_a_person_on_the_page_are_undone_together(
    operator: Client, flag: FeatureFlag, gateway: KeyValueStore
) -> None:
    with acting_as("ana"):
        changes.flags.set_rollout(KEY, 50)
        changes.values.set("gateway", "adyen")
    changes_of_ana = Screen(page(operator, f"{RECENT}?actor=ana"))
    response = undo_at(operator, changes_of_ana.link("Undo all 2 changes on this page…"))
    assert response.redirect_chain == [(f"{RECENT}?actor=ana", 302)]
    assert "Undone: “gateway”, “new_checkout”." in str(messages_of(response))
    assert stored() == (25, "stripe")
    assert len({event.transaction_id for event in all_events()[:2]}) == 1
    assert "changes on this page" not in page(operator, RECENT)


def test_transaction_is_shown_row_by_row_and_undone_as_a_whole(
    operator: Client, flag: FeatureFlag, gateway: KeyValueStore
) -> None:
    alice = User.objects.create(username="alice")
    changes.flags.create("beta", enabled=True, allowed_users=[alice])
    with transaction.atomic():
        version = changes.flags.set_rollout(KEY, 100).version
        changes.flags.create("brand_new", enabled=True)
        changes.flags.delete("beta")
        changes.values.set("gateway", "adyen")
    shown = Screen(page(operator, f"{RECENT}?transaction={version}"))
    response = operator.get(f"{RECENT}{shown.link('Undo the whole transaction…')}")
    assert "All of these changes are undone, or none." in notes_of(response)
    lines = lines_of(response)
    assert [*lines] == ["gateway (value)", "beta", "brand_new", KEY]
    assert lines["gateway (value)"] == ['value: "adyen"', 'value: "stripe"']
    again = "created again, as it was before; users with the flag: 1 of 101"
    assert lines["beta"] == ["users with the flag: 0 of 101", again]
    assert lines["brand_new"][1] == "deleted"
    before, after = lines[KEY]
    assert before == "rollout: 100 %; users with the flag: 101 of 101"
    assert after.startswith("rollout: 25 %; users with the flag: ")
    response = undo_at(operator, undo_all_url(version), _reason="too soon")
    [message] = messages_of(response)
    assert message.startswith("Undone: “gateway”, “beta”, “brand_new”, “new_checkout”. ")
    assert stored() == (25, "stripe")
    assert {*FeatureFlag.objects.values_list("key", flat=True)} == {KEY, "beta"}
    assert [event.reason for event in all_events()[:4]] == ["too soon"] * 4


@pytest.mark.thorough
def test_undo_of_many_rows_is_confirmed_and_has_a_link_that_undoes_it(
    operator: Client, settings: Any
) -> None:
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 20
    with transaction.atomic():
        FeatureFlag.objects.bulk_create(FeatureFlag(key=f"flag_{n}") for n in range(201))
    [url] = undo_urls(undo_at(operator, undo_all_url(flag_version("flag_0"))))
    assert not FeatureFlag.objects.filter(key__startswith="flag_").exists()
    undo_at(operator, url)
    assert FeatureFlag.objects.filter(key__startswith="flag_").count() == 201


# Restore.


def test_restore_undoes_what_came_after_a_version_with_a_reason(
    operator: Client, flag: FeatureFlag
) -> None:
    version = flag_version(KEY)
    changes.flags.allow(KEY, User.objects.create(username="alice"))
    changes.flags.update(KEY, {"rollout_percent": 50, "description": "<b>One</b> page"})
    url = restore_url(version)
    assert f'href="{url}&amp;' in page(operator, flag_url(flag, "history"))
    response = operator.get(url)
    assert "<b>One" not in response.content.decode()
    lines = lines_of(response)
    assert lines["description"] == ['"<b>One</b> page"', '""']
    assert lines["allowed users"] == ["1 user", "0 users: removed 1 allowed user (alice)"]
    back = 'rollout 50 → 25 %, description "<b>One</b> page" → "", removed 1 allowed user (alice)'
    [message] = messages_of(operator.post(url, confirmed(response, _reason="slow"), follow=True))
    assert message.startswith(f"“new_checkout” was restored: {back}.")
    assert (state(flag), flag.allowed_users.count()) == ((True, 25), 0)
    assert flag_history(KEY)[0].reason == "slow"


def test_versions_are_restored_only_where_the_values_are_stored(operator: Client) -> None:
    row = KeyValueStore.objects.create(key="token", value="hunter2", secret=True)
    changes.values.update("token", {"description": "For the shop"})
    changes.values.set("token", "hunter3")
    changes.values.update("token", {"description": "For the new shop"})
    undo_at(operator, Screen(page(operator, f"{VALUES}{row.pk}/history/")).link("Restore…"))
    row.refresh_from_db()
    assert (row.value, row.description) == ("hunter3", "For the shop")


# Changes after the page was shown.


def test_change_after_the_page_asks_again_and_keeps_the_reason(
    operator: Client, flag: FeatureFlag
) -> None:
    url = undo_url(changes.flags.set_rollout(KEY, 5).version)
    data = confirmed(operator.get(url), _reason="too low")
    with acting_as("ana"):
        changes.flags.update(KEY, {"description": "One"})
    response = operator.post(url, data)
    assert problems_of(response) == [
        "“new_checkout” has changed since the page was shown. Press the button again.",
        'ana: description "" → "One"',
    ]
    assert state(flag) == (True, 5)
    operator.post(url, confirmed(response))
    assert state(flag) == (True, 25)
    assert flag_history(KEY)[0].reason == "too low"


def test_undo_of_something_else_than_was_shown_asks_again(
    operator: Client, flag: FeatureFlag
) -> None:
    changes.flags.create("banner")
    deletion = changes.flags.delete("banner").version
    url = undo_url(deletion, changes.flags.set_rollout(KEY, 80).version)
    data = confirmed(operator.get(url))
    # Its key is not free any more.
    changes.flags.create("banner")
    response = operator.post(url, data)
    assert "banner: a flag has this key now" in text_of(response.content.decode())
    assert state(flag) == (True, 80)


def test_segment_that_came_into_use_after_the_page_asks_again(
    operator: Client, flag: FeatureFlag
) -> None:
    changes.segments.create("team", STAFF)
    url = undo_url(changes.segments.update("team", {"conditions": EVERYBODY}).version)
    data = confirmed(operator.get(url))
    changes.flags.update(KEY, {"rules": [{"conditions": [{"segment": "team"}]}]})
    response = operator.post(url, data)
    assert problems_of(response)[0].startswith("This has changed since the page was shown.")
    assert Segment.objects.get().conditions == EVERYBODY
    assert "new_checkout" in text_of(response.content.decode())
    operator.post(url, confirmed(response))
    assert Segment.objects.get().conditions == STAFF


# Production.


def undone_rollout() -> str:
    return undo_url(changes.flags.set_rollout(KEY, 5).version)


def restored_rollout() -> str:
    before = flag_version(KEY)
    changes.flags.set_rollout(KEY, 5)
    return restore_url(before)


def deleted_flag() -> str:
    return undo_url(changes.flags.delete(KEY).version)


def rules_of_a_value() -> str:
    rules = [{"conditions": EVERYBODY, "value": "paypal"}]
    changes.values.update("gateway", {"rules": rules})
    return undo_url(changes.values.update("gateway", {"rules": []}).version)


def two_rows() -> str:
    first = changes.values.set("gateway", "adyen").version
    return undo_url(first, changes.flags.set_rollout(KEY, 20).version)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        *((change, KEY) for change in (undone_rollout, restored_rollout, deleted_flag)),
        (rules_of_a_value, "gateway"),
        (two_rows, "Production"),
    ],
)
@pytest.mark.usefixtures("flag", "gateway")
def test_undo_for_most_users_in_production_types_the_key(
    change: Callable[[], str], key: str, operator: Client, settings: Any
) -> None:
    production(settings)
    FeatureFlag.objects.update(rollout_percent=100)
    url = change()
    entries = Change.objects.count()
    response = operator.get(url)
    assert text_to_type(response) == key
    response = operator.post(url, confirmed(response, _typed_key="x"))
    assert problems_of(response) == [f"Not confirmed: type “{key}” exactly."]
    assert Change.objects.count() == entries
    operator.post(url, confirmed(response, _typed_key=key))
    assert stored() == (100, "stripe")
    assert Change.objects.count() > entries


# Permissions.


def change_rollout() -> int | None:
    return changes.flags.set_rollout(KEY, 50).version


RIGHTS: dict[str, tuple[Callable[[], int | None], str]] = {
    "rollout": (change_rollout, "toggle_featureflag"),
    "description": (
        lambda: changes.flags.update(KEY, {"description": "One"}).version,
        "change_featureflag",
    ),
    "deletion": (lambda: changes.flags.delete(KEY).version, "add_featureflag"),
    "creation": (lambda: changes.flags.create("banner").version, "delete_featureflag"),
    "value": (lambda: changes.values.set("gateway", "adyen").version, "change_keyvaluestore"),
    "segment": (
        lambda: changes.segments.update("german", {"conditions": STAFF}).version,
        "change_segment",
    ),
}


@pytest.mark.parametrize("name", RIGHTS)
@pytest.mark.one_in(3)
def test_undo_needs_the_permission_of_the_change(
    name: str, flag: FeatureFlag, gateway: KeyValueStore
) -> None:
    write, right = RIGHTS[name]
    changes.flags.update(KEY, {"enabled": False})
    changes.segments.create("german", GERMAN)
    url = undo_url(write())
    client = staff("view_featureflag", "view_keyvaluestore", "view_segment")
    before = Change.objects.count()
    assert f'href="{url}' not in page(client, RECENT)
    for response in (client.get(url), client.post(url, {"_confirmed": "1"})):
        assert response.status_code == 403
    assert Change.objects.count() == before
    permit(User.objects.get(username="staff"), right)
    assert f'href="{url}' in page(client, RECENT)
    undo_at(client, url)
    assert Change.objects.count() > before


@pytest.mark.parametrize("name", RIGHTS)
@pytest.mark.one_in(3)
def test_undo_of_a_transaction_needs_the_permissions_for_all_its_changes(
    name: str, flag: FeatureFlag, gateway: KeyValueStore
) -> None:
    write, right = RIGHTS[name]
    changes.flags.update(KEY, {"enabled": False})
    changes.segments.create("german", GERMAN)
    with transaction.atomic():
        version = changes.segments.create("team", STAFF).version
        write()
    # Who may change a flag may toggle it.
    others = {right for _write, right in RIGHTS.values()} - {right, "change_featureflag"}
    editor = staff("view_featureflag", "view_segment", "delete_segment", *others)
    url = undo_all_url(version)
    for response in (editor.get(url), editor.post(url, {"_confirmed": "1"})):
        assert response.status_code == 403
    assert Segment.objects.filter(key="team").exists()
    permit(User.objects.get(username="staff"), right)
    undo_at(editor, url)
    assert not Segment.objects.filter(key="team").exists()


def test_undo_of_any_entry_of_a_creation_needs_the_permission_to_delete() -> None:
    alice = User.objects.create(username="alice")
    changes.flags.create(KEY, allowed_users=[alice])
    flag = FeatureFlag.objects.get()
    editor = staff("change_featureflag")
    assert "?undo=" not in page(editor, flag_url(flag, "history"))
    for entry in Change.objects.filter(object_pk=flag.pk):
        assert editor.post(undo_url(entry.pk), {"_confirmed": "1"}).status_code == 403
    assert flag.allowed_users.get() == alice


def test_users_without_the_permission_to_view_users_see_only_numbers(
    operator: Client, flag: FeatureFlag
) -> None:
    version, editor = flag_version(KEY), staff("change_featureflag")
    # Long, because the pages have tokens of random letters.
    robert = User.objects.create(username="robert.smith")
    change = changes.flags.allow(KEY, robert).version
    for address in (RECENT, restore_url(version), undo_url(change)):
        html = page(editor, address)
        assert "1 allowed user" in html
        assert "robert.smith" not in html
        assert "robert.smith" in page(operator, address)
    assert '"{""count"": 1, ""pks"": []}"' in page(editor, f"{RECENT}?format=csv")
    assert f'""pks"": [{robert.pk}]' in page(operator, f"{RECENT}?format=csv")
    [message] = messages_of(undo(editor, change))
    assert message.startswith("The change of “new_checkout” was undone: removed 1 allowed user.")


def test_page_offers_to_leave_out_a_column_whose_old_value_no_longer_fits(
    operator: Client,
) -> None:
    changes.flags.create("banner", rollout_percent=5)
    version = changes.flags.delete("banner").version or 0
    # It was a text then.
    execute('UPDATE flagstaff_change SET old = old || \'{"review_on": "soon"}\'')
    html = page(operator, undo_url(version))
    assert "banner: review_on: " in text_of(html)
    url = f"{RECENT}{Screen(html).link('Leave out review_on')}"
    assert "Left out: review_on." in text_of(page(operator, url))
    operator.post(url, confirmed(operator.get(url)))
    assert FeatureFlag.objects.get(key="banner").rollout_percent == 5
