"""What the pages of all actions of values and segments have in common. Flags have more actions."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client

from flagstaff import changes
from flagstaff.models import KeyValueStore, Segment
from tests.support.admin_pages import (
    SEGMENTS,
    VALUES,
    act,
    count_queries,
    links_of,
    messages_of,
    page,
    problems_in,
    staff,
    typed,
    undo_urls,
)
from tests.support.conditions import condition
from tests.support.history import segment_history, value_history
from tests.support.sql import statements_of

pytestmark = pytest.mark.django_db

STAFF = [condition("is_staff", "in", True)]
PAYING = [condition("plan", "in", "paid")]
RULES = [{"conditions": STAFF, "value": "paypal"}]
SENTENCE = 'plan is "paid"'
# The columns that forms have as JSON.
JSON_COLUMNS = ("value", "rules", "conditions")
MODELS: dict[str, type[Model]] = {VALUES: KeyValueStore, SEGMENTS: Segment}
HISTORIES = {VALUES: value_history, SEGMENTS: segment_history}


class Case(NamedTuple):
    """An action: its page, what is typed there, its entry in Django's log, and its message."""

    pages: str
    name: str
    arguments: dict[str, Any]
    message: str
    flag: int = CHANGE

    @property
    def key(self) -> str:
        return str(self.arguments.get("key", "it"))

    @property
    def url(self) -> str:
        if self.flag == ADDITION:
            return f"{self.pages}add/"
        return f"{self.pages}{MODELS[self.pages]._default_manager.get().pk}/{self.name}/"


CASES = (
    Case(VALUES, "add", {"key": "new", "value": '"a"'}, "“new” was added.", ADDITION),
    Case(VALUES, "set", {"value": '"adyen"'}, '“it” was changed: value "stripe" → "adyen".'),
    Case(
        VALUES,
        "set-for-everyone",
        {"value": '"adyen"'},
        '“it” was changed: value "stripe" → "adyen", rules rule 1: "paypal" if is_staff',
    ),
    Case(
        VALUES,
        "rules",
        {"rules": "[]"},
        '“it” was changed: rules rule 1: "paypal" if is_staff is true → no rules.',
    ),
    Case(
        VALUES,
        "details",
        {"description": "Who pays"},
        '“it” was changed: description "" → "Who pays".',
    ),
    Case(VALUES, "delete", {}, "“it” was deleted.", DELETION),
    Case(
        SEGMENTS,
        "add",
        {"key": "new", "conditions": json.dumps(PAYING), "description": "New"},
        "“new” was added.",
        ADDITION,
    ),
    Case(
        SEGMENTS,
        "conditions",
        {"conditions": json.dumps(PAYING)},
        f"“it” was changed: conditions is_staff is true → {SENTENCE}.",
    ),
    Case(
        SEGMENTS,
        "details",
        {"description": "Large"},
        '“it” was changed: description "" → "Large".',
    ),
    Case(SEGMENTS, "delete", {}, "“it” was deleted.", DELETION),
)
every_action = pytest.mark.parametrize(
    "case", CASES, ids=[f"{MODELS[one.pages].__name__} {one.name}" for one in CASES]
)


@pytest.fixture(autouse=True)
def _rows(db: None) -> None:
    changes.values.create("it", "stripe", rules=RULES)
    changes.segments.create("it", STAFF)


@every_action
def test_action_writes_with_actor_and_reason_and_says_what_it_did(
    case: Case, operator: Client, admin_user: User
) -> None:
    [first, *_] = messages_of(act(operator, case.url, _reason="pilot", **case.arguments))
    assert first.startswith(case.message)
    [event, *_] = HISTORIES[case.pages](case.key)
    assert (event.actor, event.source, event.reason) == (str(admin_user.pk), "admin", "pilot")
    [entry] = LogEntry.objects.all()
    assert (entry.action_flag, entry.object_repr) == (case.flag, case.key)
    found = MODELS[case.pages]._default_manager.filter(key=case.key).values()
    assert len(found) == (case.flag != DELETION)
    for name, text in case.arguments.items():
        assert found[0][name] == (json.loads(text) if name in JSON_COLUMNS else text)
    if case.name == "set-for-everyone":
        assert found[0]["rules"] == []


@every_action
def test_page_of_an_action_locks_and_writes_nothing(case: Case, operator: Client) -> None:
    data = typed(operator, case.url, **case.arguments)
    # Three are those of the session, the user and the rights.
    assert count_queries(operator, case.url) <= 20 + 3

    def show() -> None:
        page(operator, case.url)
        # A script asks what the arguments would change.
        assert operator.post(case.url, data | {"_edit": "preview"}).status_code == 200

    written = re.compile("FOR (NO KEY )?UPDATE|^(INSERT|UPDATE|DELETE)")
    assert not [one for one in statements_of(show) if written.search(one)]


@every_action
@pytest.mark.usefixtures("reason_required")
def test_action_needs_a_reason_if_the_setting_says_so(case: Case, operator: Client) -> None:
    [problem] = problems_in(act(operator, case.url, **case.arguments))
    assert problem.startswith("A reason is required.")
    assert not LogEntry.objects.exists()
    assert messages_of(act(operator, case.url, _reason="why not", **case.arguments))


SEEN = {"", "change", "history"}


@pytest.mark.parametrize(
    ("pages", "permission", "allowed"),
    [
        (VALUES, "view_featureflag", set()),
        (VALUES, "view_keyvaluestore", SEEN),
        (VALUES, "change_keyvaluestore", {*SEEN, "set", "set-for-everyone", "rules", "details"}),
        (VALUES, "add_keyvaluestore", {"add"}),
        (VALUES, "delete_keyvaluestore", set()),
        (SEGMENTS, "view_featureflag", set()),
        (SEGMENTS, "view_segment", SEEN),
        (SEGMENTS, "change_segment", {*SEEN, "conditions", "details"}),
        (SEGMENTS, "add_segment", {"add"}),
        (SEGMENTS, "delete_segment", set()),
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_pages_need_a_permission(
    method: str, pages: str, permission: str, allowed: set[str]
) -> None:
    client, pk = staff(permission), MODELS[pages]._default_manager.get().pk
    urls = {one.name: one.url for one in CASES if one.pages == pages}
    urls |= {"": pages, **{name: f"{pages}{pk}/{name}/" for name in ("change", "history")}}
    statuses = {name: getattr(client, method)(url).status_code for name, url in urls.items()}
    assert {name for name, status in statuses.items() if status != 403} == allowed
    assert {*statuses.values()} <= {200, 302, 403}


@pytest.mark.parametrize(
    ("pages", "model", "count"), [(VALUES, "keyvaluestore", 4), (SEGMENTS, "segment", 2)]
)
def test_page_names_the_permissions_that_its_actions_need(
    pages: str, model: str, count: int
) -> None:
    pk = MODELS[pages]._default_manager.get().pk
    html = page(staff(f"view_{model}"), f"{pages}{pk}/change/")
    assert links_of(html) == []
    assert html.count(f"(flagstaff.change_{model})") == count
    assert html.count(f"(flagstaff.delete_{model})") == 1


@pytest.mark.parametrize(("case", "right"), [(CASES[6], "delete"), (CASES[-1], "add")])
@pytest.mark.parametrize("may_undo", [False, True])
def test_message_links_to_an_undo_that_the_user_may_do(
    case: Case, right: str, *, may_undo: bool
) -> None:
    rights = [case.name, *([right] if may_undo else [])]
    client = staff("view_segment", *(f"{one}_segment" for one in rights))
    assert len(undo_urls(act(client, case.url, **case.arguments))) == may_undo


@every_action
def test_page_of_a_row_that_is_gone_says_so(case: Case, operator: Client) -> None:
    names = {case.name, "change", "history"} - {"add"}
    for pk, name in ((pk, name) for pk in ("0", "x") for name in names):
        response = operator.get(f"{case.pages}{pk}/{name}/", follow=True)
        [message] = messages_of(response)
        assert f"with ID “{pk}” doesn" in message
