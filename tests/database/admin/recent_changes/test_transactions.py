"""Changes of one transaction in the admin: shown together, undone together."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags

from flagstaff import acting_as
from flagstaff.admin import FeatureFlagAdmin
from flagstaff.admin.history import undo_buttons
from flagstaff.changes import (
    create,
    delete,
    delete_value,
    disable,
    enable,
    set_rollout,
    set_value,
    update_value,
)
from flagstaff.history import flag_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.admin_pages import (
    FLAGS,
    RECENT,
    VALUES,
    asks,
    confirmed,
    count_queries,
    messages_of,
    page,
    permit,
    problems_of,
    rows_of,
    staff,
    undo_all_url,
    undo_urls,
)
from tests.support.history import flag_history
from tests.support.terminals import open_shop

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop() -> None:
    open_shop()
    # The fixture changes many flags in one transaction, too.
    Change.objects.all().delete()


def history_url(key: str) -> str:
    return f"{FLAGS}{FeatureFlag.objects.get(key=key).pk}/history/"


def release() -> int:
    """Changes three flags and a value in one transaction. Returns new_checkout's change."""
    with transaction.atomic(), acting_as("deploy", reason="release 42"):
        change = set_rollout("new_checkout", 100).version
        enable("summer_banner")
        delete("search_v2")
        set_value("page_size", 50)
    assert change
    return change


def related(html: str) -> list[str]:
    found = re.findall(r'<span class="flagstaff-together">(.*?)</span>', html, re.DOTALL)
    return [unescape(" ".join(strip_tags(text).split())) for text in found]


def links(html: str) -> list[tuple[str, str]]:
    """Returns the change and the label of each link that undoes a transaction."""
    return re.findall(r'href="[^"]*undo-transaction=(\d+)"[^>]*>(.*?)<', html)


def undo_all(client: Client, change: int | None, **data: str) -> Any:
    """Opens the page that undoes a transaction, confirms it, and returns the page after it."""
    url = undo_all_url(change)
    response = client.get(url)
    posted = confirmed(response, **data) if asks(response) else {"_confirmed": "1"}
    return client.post(url, posted, follow=True)


def test_event_shows_related_changes_and_their_button(operator: Client) -> None:
    set_rollout("dark_mode", 50)
    html = page(operator, history_url("dark_mode"))
    assert (related(html), links(html)) == ([], [])
    change = release()
    html = page(operator, history_url("new_checkout"))
    assert related(html) == ["changed together with search_v2, summer_banner, page_size"]
    assert links(html) == [(str(change), "all 4…")]
    banner = flag_version("summer_banner")
    assert f'<a href="{history_url("summer_banner")}#version-{banner}">summer_banner</a>' in html


def test_many_related_changes_are_truncated_with_few_queries(operator: Client) -> None:
    with transaction.atomic():
        set_rollout("new_checkout", 100)
        for number in range(12):
            create(f"flag_{number:02}")
    assert count_queries(operator, history_url("new_checkout")) <= 20
    html = page(operator, history_url("new_checkout"))
    assert related(html) == [
        "changed together with flag_00, flag_01, flag_02, flag_03, flag_04 and 7 more"
    ]
    assert links(html)[0][1] == "all 13…"


def change_all(transactions: int, flag_count: int) -> None:
    """Flags that each of these transactions has changed."""
    first = FeatureFlag.objects.count()
    keys = (f"flag_{first + number:03}" for number in range(flag_count))
    FeatureFlag.objects.bulk_create(FeatureFlag(key=key) for key in keys)
    for number in range(transactions):
        FeatureFlag.objects.update(description=str(number))


@pytest.mark.parametrize("url", ["history", "recent changes"])
def test_page_reads_and_asks_as_much_for_many_large_transactions(
    url: str, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    may_change = FeatureFlagAdmin.has_change_permission

    def count(self: Any, request: Any, obj: Any = None) -> bool:
        asked.append(obj)
        return may_change(self, request, obj)

    monkeypatch.setattr(FeatureFlagAdmin, "has_change_permission", count)

    def figures() -> tuple[int, int]:
        """The numbers of queries, and of asked permissions."""
        asked.clear()
        page_url = history_url("new_checkout") if url == "history" else RECENT
        with CaptureQueriesContext(connection) as queries:
            page(operator, page_url)
        return len(queries), len(asked)

    change_all(3, 10)
    figures()  # Fills Django's caches.
    few = figures()
    change_all(3, 60)
    assert figures() == few


def test_very_large_transaction_is_counted_in_part(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undo_buttons, "_MAX_ENTRIES", 20)
    change_all(1, 30)
    html = page(operator, history_url("summer_banner"))
    [sentence] = related(html)
    assert re.fullmatch(r"changed together with (\w+, ){4}\w+ and at least 15 more", sentence)
    assert links(html)[0][1] == "all…"


def test_confirmed_undo_restores_all_and_records_actor(operator: Client, admin_user: User) -> None:
    change = release()
    response = undo_all(operator, change, _reason="too soon")
    [message] = messages_of(response)
    undone = "Undone: “page_size”, “search_v2”, “summer_banner”, “new_checkout”. "
    assert message.startswith(undone)
    assert FeatureFlag.objects.get(key="new_checkout").rollout_percent == 25
    assert FeatureFlag.objects.get(key="search_v2").kind == "ops"
    assert KeyValueStore.objects.get(key="page_size").value == 20
    for key in ("new_checkout", "search_v2", "summer_banner"):
        event = flag_history(key)[0]
        assert (event.actor, event.source) == (str(admin_user.pk), "admin")
        assert event.reason == "too soon"
    # The second undo changes nothing.
    entries = Change.objects.count()
    response = undo_all(operator, change)
    assert "There is nothing to undo." in response.content.decode()
    assert Change.objects.count() == entries


def test_unconfirmed_undo_shows_all_changes_and_writes_nothing(operator: Client) -> None:
    with transaction.atomic():
        change = set_rollout("new_checkout", 100).version
        create("brand_new", enabled=True)
        delete("beta_reviews")
    entries = Change.objects.count()
    html = operator.post(undo_all_url(change), {"_reason": "too soon"}).content.decode()
    assert Change.objects.count() == entries
    beta, brand, checkout = rows_of(html)
    assert beta.startswith("flag beta_reviews deleted, on")
    assert beta.endswith(
        "removed 2 allowed users (alice, bob) will be created again, as it was before"
    )
    assert brand == 'flag brand_new created, on, kind "release" will be deleted'
    assert checkout == "flag new_checkout rollout 25 → 100 % rollout 100 → 25 %"
    assert 'value="too soon"' in html
    # The undo of a creation leads to the list.
    response = undo_all(operator, flag_version("brand_new"))
    assert response.redirect_chain == [(FLAGS, 302)]
    assert not FeatureFlag.objects.filter(key="brand_new").exists()


def test_undo_over_newer_change_is_rejected(operator: Client) -> None:
    change = release()
    with acting_as("ana"):
        disable("summer_banner")
        enable("summer_banner")
    entries = Change.objects.count()
    [problem] = problems_of(undo_all(operator, change))
    assert problem.startswith("This cannot be undone: summer_banner: enabled was changed again")
    assert Change.objects.count() == entries


@pytest.mark.thorough
def test_undo_of_many_rows_is_confirmed_and_has_a_link_that_undoes_it(
    operator: Client, settings: Any
) -> None:
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 20
    with transaction.atomic():
        FeatureFlag.objects.bulk_create(FeatureFlag(key=f"flag_{n}") for n in range(201))
    url = undo_all_url(flag_version("flag_0"))
    response = operator.post(url, confirmed(operator.get(url)), follow=True)
    assert not FeatureFlag.objects.filter(key__startswith="flag_").exists()
    [url] = undo_urls(response)
    operator.post(url, confirmed(operator.get(url)))
    assert FeatureFlag.objects.filter(key__startswith="flag_").count() == 201


def test_undo_of_a_transaction_of_which_entries_were_deleted_meanwhile_asks_again(
    operator: Client,
) -> None:
    change = release()
    url = undo_all_url(change)
    data = confirmed(operator.get(url))
    Change.objects.filter(key="summer_banner").delete()
    response = operator.post(url, data)
    assert "something else than was shown" in problems_of(response)[0]
    assert flag_version("new_checkout") == change
    operator.post(url, confirmed(response))
    assert FeatureFlag.objects.get(key="new_checkout").rollout_percent == 25


FLAG_PERMISSIONS = ("add_featureflag", "change_featureflag", "delete_featureflag")


def test_undo_needs_permissions_for_all_changes() -> None:
    change = release()
    editor = staff(*FLAG_PERMISSIONS)
    html = page(editor, history_url("new_checkout"))
    assert links(html) == []
    # Without the permission to view values, the value is only counted.
    assert related(html) == ["changed together with search_v2, summer_banner and 1 more"]
    assert undo_all(editor, change).status_code == 403
    assert FeatureFlag.objects.get(key="new_checkout").rollout_percent == 100
    permit(User.objects.get(username="staff"), "change_keyvaluestore")
    undo_all(editor, change)
    assert FeatureFlag.objects.get(key="new_checkout").rollout_percent == 25


@pytest.mark.parametrize("permission", ["add", "delete"])
def test_undo_of_deletion_or_creation_needs_permission(permission: str) -> None:
    others = [name for name in FLAG_PERMISSIONS if not name.startswith(permission)]
    with transaction.atomic():
        change = set_rollout("new_checkout", 100).version
        delete("search_v2") if permission == "add" else create("brand_new")
    editor = staff(*others)
    assert links(page(editor, history_url("new_checkout"))) == []
    assert undo_all(editor, change).status_code == 403


def test_value_shows_the_other_changes_of_its_transaction(operator: Client) -> None:
    release()
    row = KeyValueStore.objects.get(key="page_size")
    html = page(operator, f"{VALUES}{row.pk}/history/")
    assert related(html) == ["changed together with new_checkout, search_v2, summer_banner"]
    assert operator.get(undo_all_url("x")).status_code == 404  # type: ignore[arg-type]


def change_token(**fields: Any) -> tuple[KeyValueStore, int]:
    """Changes a secret value and a flag in one transaction. Returns the value and its version."""
    token = KeyValueStore.objects.create(key="token", value="hunter2", secret=True)
    with transaction.atomic():
        set_rollout("new_checkout", 100)
        change = update_value("token", fields).version
    return token, change or 0


def test_transaction_that_changed_or_deleted_secret_value_has_no_undo(operator: Client) -> None:
    token, change = change_token(value="hunter3")
    history = f"{VALUES}{token.pk}/history/"
    for url in (history, history_url("new_checkout")):
        assert links(page(operator, url)) == []
    [problem] = problems_of(operator.get(undo_all_url(change)))
    assert problem.startswith(
        "This cannot be undone: token is secret, so the history says only that"
    )
    with transaction.atomic():
        set_rollout("dark_mode", 50)
        delete_value("token")
    assert links(page(operator, history_url("dark_mode"))) == []


def test_transaction_that_kept_secret_value_can_be_undone(operator: Client) -> None:
    token, change = change_token(description="For the shop")
    [(_version, label)] = links(page(operator, f"{VALUES}{token.pk}/history/"))
    assert label == "all 2…"
    undo_all(operator, change)
    token.refresh_from_db()
    assert (token.value, token.description) == ("hunter2", "")
