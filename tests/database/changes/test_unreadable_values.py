"""A value that only SQL can write, because Python cannot decode it: shown, replaced, deleted."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from flagstaff._words.json_text import UnreadableJson, read_columns
from flagstaff.changes import delete_value, set_value, update_value
from flagstaff.changes.values import restore as restore_value
from flagstaff.changes.values import undo as undo_value
from flagstaff.exceptions import FlagstaffError, InvalidChangeError
from flagstaff.history import as_csv, as_dicts, value_version
from flagstaff.models import Change, KeyValueStore
from flagstaff.serialization import export
from tests.support.admin_pages import (
    VALUES,
    column,
    errors,
    form_data,
    messages_of,
    page,
    restore_url,
    staff,
)
from tests.support.documents import import_text
from tests.support.history import value_history
from tests.support.sql import rows
from tests.support.terminals import flags

pytestmark = pytest.mark.django_db
# Each change is a transaction of its own, as in production.
EVENTS = pytest.mark.django_db(transaction=True)

DIGITS = "it has a number of more than 4,300 digits"
DEEP = "it is nested deeper than 500 levels"
UNREADABLE = {
    "digits": ("1e5000", DIGITS),
    "member": ('{"a": [1, {"b": -1e5000}], "c": "}, {"}', DIGITS),
    "deep": ("[" * 3_000 + "]" * 3_000, DEEP),
}


@pytest.fixture(params=UNREADABLE)
def problem(request: pytest.FixtureRequest) -> str:
    """Writes an unreadable value `limit` beside `page_size`. Returns what is wrong with it."""
    text, problem = UNREADABLE[request.param]
    # A flush keeps the entries of other tests.
    Change.objects.filter(key="limit").delete()
    KeyValueStore.objects.create(key="page_size", value=20)
    rows("INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('limit', %s)", text)
    return problem


def pk() -> int:
    found: int = KeyValueStore.objects.values_list("pk", flat=True).get(key="limit")
    return found


def stored() -> str:
    [[text]] = rows("SELECT value::text FROM flagstaff_keyvaluestore WHERE key = 'limit'")
    return str(text)


def test_unreadable_value_is_shown_replaced_and_deleted_in_the_admin(
    problem: str, admin_client: Client
) -> None:
    shown = column(page(admin_client, VALUES), "shown_value")
    assert shown == [f"unreadable: {problem}", "20"]
    url = f"{VALUES}{pk()}/"
    assert f"unreadable: {problem}" in page(staff("view_keyvaluestore"), f"{url}change/")
    assert f"The stored value is unreadable: {problem}." in page(admin_client, f"{url}change/")
    assert "limit" in page(admin_client, f"{url}delete/")
    with transaction.atomic():
        assert admin_client.post(f"{url}delete/", {"post": "yes"}).status_code == 302
        assert not KeyValueStore.objects.filter(key="limit").exists()
        transaction.set_rollback(True)
    data = form_data(admin_client.get(f"{url}change/"))
    assert data["value"] == ""
    assert errors(admin_client, f"{url}change/", data)["value"] == [
        'the value is missing or null; write JSON, such as "stripe", 25 or []'
    ]
    data |= {"value": "50", "_confirmed": "1"}
    assert admin_client.post(f"{url}change/", data).status_code == 302
    assert stored() == "50"


@EVENTS
@pytest.mark.parametrize("problem", ["digits", "member"], indirect=True)
def test_history_page_shows_unreadable_value(problem: str, admin_client: Client) -> None:
    set_value("limit", 50)
    html = page(admin_client, f"{VALUES}{pk()}/history/")
    assert f"<strong>unreadable: {problem} → 50</strong>" in html
    assert f"created, value <strong>unreadable: {problem}" in html


def test_unreadable_value_stays_beside_a_changed_field_until_it_is_set(problem: str) -> None:
    before = stored()
    assert update_value("limit", {"description": "per hour"}).written
    assert stored() == before
    ran = flags("value", "set", "limit", "50")
    assert ran.status == 0
    assert f"limit: value unreadable: {problem} → 50" in ran.err
    assert "undo:" not in ran.err
    assert stored() == "50"


def test_unreadable_value_is_replaced_by_its_text_and_by_an_import(problem: str) -> None:
    with transaction.atomic():
        assert set_value("limit", stored()).written
        transaction.set_rollback(True)
    import_text(json.dumps({"flagstaff": 1, "values": {"limit": {"value": 50}}}))
    assert stored() == "50"


def restorable(client: Client) -> list[int]:
    """Returns the versions that the history page offers to restore."""
    html = page(client, f"{VALUES}{pk()}/history/")
    return [int(version) for version in re.findall(r'\?restore=(\d+)"', html)]


@EVENTS
def test_undo_and_restore_of_an_unreadable_value_are_refused(
    problem: str, admin_client: Client
) -> None:
    unreadable = value_version("limit") or 0
    update_value("limit", {"description": "per hour"})
    set_value("limit", 50)
    url = f"{VALUES}{pk()}/history/"
    refused = "Python cannot decode the value that limit had"
    with pytest.raises(InvalidChangeError, match=refused):
        undo_value("limit")
    with pytest.raises(InvalidChangeError, match=refused):
        restore_value("limit", to=unreadable)
    assert stored() == "50"
    response = admin_client.get(restore_url(url, unreadable), follow=True)
    assert "Python cannot decode" in messages_of(response)[0]


@EVENTS
def test_other_field_beside_an_unreadable_value_is_undone_and_restored(
    problem: str, admin_client: Client
) -> None:
    before, version = stored(), value_version("limit") or 0
    for back in (undo_value, lambda key: restore_value(key, to=version)):
        update_value("limit", {"description": "per hour"})
        assert "?undo=" in page(admin_client, f"{VALUES}{pk()}/history/")
        assert version in restorable(admin_client)
        assert back("limit").written
        descriptions = KeyValueStore.objects.values_list("description", flat=True)
        assert (stored(), descriptions.get(key="limit")) == (before, "")


@EVENTS
def test_unreadable_value_is_not_created_again(problem: str) -> None:
    changed = delete_value("limit")
    assert (changed.written, changed.undo) == (True, None)
    with pytest.raises(InvalidChangeError, match="Python cannot decode the value that limit had"):
        undo_value("limit")


def test_unreadable_value_is_listed_and_neither_returned_nor_exported(problem: str) -> None:
    listed = [line.split("\t")[:2] for line in flags("value", "list").out.splitlines()]
    assert listed == [["limit", f"unreadable: {problem}"], ["page_size", "20"]]
    limit, page_size = json.loads(flags("value", "list", "--json").out)
    assert (limit["value"], page_size["value"]) == (None, 20)
    assert f"it {limit['problem']}" == problem
    ran = flags("value", "get", "limit")
    assert (ran.status, ran.out) == (1, "")
    assert f"the value 'limit' cannot be decoded: {problem}; set it to another value" in ran.err
    what = problem.removeprefix("it ")
    with pytest.raises(
        FlagstaffError, match=f"'limit' cannot be exported: the JSON of its value {what}"
    ):
        export()
    assert export(["page_size"])["values"]["page_size"]["value"] == 20


def test_event_of_an_unreadable_value_is_printed_and_keeps_its_other_fields(problem: str) -> None:
    shown = flags("history", "limit", "--value").out
    # Of a long value only the start is read.
    assert f"unreadable: {problem}" in shown or "… (5700 more characters)" in shown
    [printed] = json.loads(flags("history", "limit", "--value", "--json").out)
    [value] = [one["new"] for one in printed["differences"] if one["field"] == "value"]
    assert value == stored()
    [event] = value_history("limit")
    fields = {one.field: one.new for one in event.differences}
    assert isinstance(fields["value"], UnreadableJson)
    assert (fields["key"], fields["secret"]) == ("limit", False)
    assert json.loads(json.dumps(as_dicts([event])))[0]["key"] == "limit"
    assert "limit" in as_csv([event])
    assert Change.objects.get(key="limit").new["description"] == ""


@pytest.mark.parametrize(
    "row", [{}, {"key": "a"}, {'a"b\\': {"}": "{", ",": [":"]}, "c:": [1, {"d": None}], "e": "\\"}]
)
def test_columns_are_read_as_json(row: dict[str, Any]) -> None:
    long = {**row, "value": [[]]}
    text = json.dumps(long, indent=1).replace("[\n  []\n ]", "[" * 501 + "]" * 501)
    found = read_columns(text)
    assert isinstance(found.pop("value"), UnreadableJson)
    assert found == row
    assert read_columns(json.dumps(row)) == row
