"""What the pages of all actions of flags, values and segments have in common."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client

from flagstaff import acting_as, changes
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.admin_pages import (
    FLAGS,
    SEGMENTS,
    VALUES,
    act,
    answer,
    count_queries,
    links_of,
    messages_of,
    page,
    problems_of,
    production,
    staff,
    text_to_type,
    typed,
    undo,
    undo_urls,
)
from tests.support.conditions import condition
from tests.support.history import flag_history, segment_history, value_history
from tests.support.screen import Screen
from tests.support.sql import statements_of

pytestmark = pytest.mark.django_db

STAFF = [condition("is_staff", "in", True)]
PAYING = [condition("plan", "in", "paid")]
RULES = [{"conditions": STAFF, "value": "paypal"}]
FLAG_RULES = [{"conditions": PAYING}]
SENTENCE = 'plan is "paid"'
NO_RULES = 'removed rule 1: "paypal" if is_staff is true'
MODELS: dict[str, type[Model]] = {
    FLAGS: FeatureFlag,
    VALUES: KeyValueStore,
    SEGMENTS: Segment,
}
WRITES = {FLAGS: changes.flags, VALUES: changes.values, SEGMENTS: changes.segments}
KEYS = {FLAGS: "flag", VALUES: "value", SEGMENTS: "segment"}
HISTORIES = {FLAGS: flag_history, VALUES: value_history, SEGMENTS: segment_history}
# With those of the session, the user and the rights.
MAX_QUERIES = {FLAGS: 24, VALUES: 23, SEGMENTS: 23}


class Case(NamedTuple):
    """An action: its page, what is typed, what is stored then, its message, and its log entry."""

    pages: str
    name: str
    arguments: dict[str, Any]
    fields: dict[str, Any]
    message: str
    flag: int = CHANGE

    @property
    def key(self) -> str:
        return str(self.arguments.get("key", KEYS[self.pages]))

    @property
    def url(self) -> str:
        if self.flag == ADDITION:
            return f"{self.pages}add/"
        return f"{self.pages}{MODELS[self.pages]._default_manager.get().pk}/{self.name}/"

    def stored(self) -> dict[str, Any] | None:
        """Returns the columns of the row and its allowed users; None if there is no row."""
        row = MODELS[self.pages]._default_manager.filter(key=self.key).first()
        if row is None:
            return None
        [columns] = type(row)._default_manager.filter(pk=row.pk).values()
        users = getattr(row, "allowed_users", None)
        names = [] if users is None else sorted(user.username for user in users.all())
        return {**columns, "allowed_users": names, "changed_at": None}


def added(pages: str, **fields: Any) -> Case:
    typed = {
        name: json.dumps(value) if name in {"value", "conditions"} else value
        for name, value in fields.items()
    }
    return Case(pages, "add", {"key": "new", **typed}, fields, "“new” was added.", ADDITION)


def changed(pages: str, name: str, message: str, fields: dict[str, Any], **arguments: Any) -> Case:
    return Case(pages, name, arguments, fields, f"“{KEYS[pages]}” was changed: {message}")


def deleted(pages: str) -> Case:
    return Case(pages, "delete", {}, {}, f"“{KEYS[pages]}” was deleted.", DELETION)


CASES = (
    added(FLAGS, description="New"),
    changed(FLAGS, "kill", "turned off.", {"enabled": False}),
    changed(FLAGS, "on", "rollout 25 → 5 %.", {"rollout_percent": 5}, percent="5"),
    changed(FLAGS, "rollout", "rollout 25 → 50 %.", {"rollout_percent": 50}, percent="50"),
    changed(FLAGS, "release", "rollout 25 → 100 %.", {"rollout_percent": 100}),
    changed(FLAGS, "rules", "", {"rules": FLAG_RULES}, rules=json.dumps(FLAG_RULES)),
    changed(FLAGS, "unit", "", {"bucket_by": "organization"}, bucket_by="organization"),
    changed(FLAGS, "allow", "", {"allowed_users": ["admin", "alice"]}, users="admin"),
    changed(FLAGS, "disallow", "", {"allowed_users": []}, users="alice"),
    changed(FLAGS, "details", "", {"owner": "a", "tags": ["a", "b"]}, owner="a", tags="a, b"),
    deleted(FLAGS),
    added(VALUES, value="a"),
    changed(VALUES, "set", 'value "stripe" → "adyen".', {"value": "adyen"}, value='"adyen"'),
    changed(
        VALUES,
        "set-for-everyone",
        f'value "stripe" → "adyen", rules {NO_RULES}.',
        {"value": "adyen", "rules": []},
        value='"adyen"',
    ),
    changed(VALUES, "rules", f"rules {NO_RULES}.", {"rules": []}, rules="[]"),
    changed(
        VALUES, "details", 'description "" → "Who".', {"description": "Who"}, description="Who"
    ),
    deleted(VALUES),
    added(SEGMENTS, conditions=PAYING, description="New"),
    changed(
        SEGMENTS,
        "conditions",
        f"conditions is_staff is true → {SENTENCE}.",
        {"conditions": PAYING},
        conditions=json.dumps(PAYING),
    ),
    changed(
        SEGMENTS, "details", 'description "" → "Who".', {"description": "Who"}, description="Who"
    ),
    deleted(SEGMENTS),
)


def every(cases: list[Case]) -> pytest.MarkDecorator:
    names = [f"{MODELS[one.pages].__name__} {one.name}" for one in cases]
    return pytest.mark.parametrize("case", cases, ids=names)


every_action = every([*CASES])
every_deletion = every([one for one in CASES if one.flag == DELETION])
every_delayed_action = every([one for one in CASES if one.name != "kill"])
every_delayed_change = every([one for one in CASES if one.flag == CHANGE and one.name != "kill"])


@pytest.fixture(autouse=True)
def _rows(db: None) -> None:
    changes.flags.create(
        "flag",
        enabled=True,
        rollout_percent=25,
        allowed_users=[User.objects.create_user("alice")],
    )
    changes.values.create("value", "stripe", rules=RULES)
    changes.segments.create("segment", STAFF)


@every_action
def test_action_writes_its_fields_with_actor_and_reason_and_is_undone(
    case: Case, operator: Client, admin_user: User
) -> None:
    before = case.stored()
    response = act(operator, case.url, _reason="pilot", **case.arguments)
    assert messages_of(response)[0].startswith(case.message)
    [event, *_] = HISTORIES[case.pages](case.key)
    assert (event.actor, event.source, event.reason) == (str(admin_user.pk), "admin", "pilot")
    [entry] = LogEntry.objects.all()
    assert (entry.action_flag, entry.object_repr) == (case.flag, case.key)
    after = case.stored()
    if case.flag == DELETION:
        assert after is None
    else:
        assert after is not None
        assert {name: after[name] for name in case.fields} == case.fields
    if case.flag == CHANGE:
        assert before is not None
        assert after == before | case.fields
        assert response.redirect_chain == [
            (f"{case.url.removesuffix(f'{case.name}/')}change/", 302)
        ]
    assert len(undo_urls(response)) == 1
    undo(operator, event.version)
    assert case.stored() == before


@every_action
@pytest.mark.one_in(4)
def test_page_of_an_action_locks_and_writes_nothing(case: Case, operator: Client) -> None:
    data = typed(operator, case.url, **case.arguments)
    assert count_queries(operator, case.url) <= MAX_QUERIES[case.pages]

    def show() -> None:
        page(operator, case.url)
        # A script asks what the arguments would change.
        assert operator.post(case.url, data | {"_edit": "preview"}).status_code == 200

    written = re.compile("FOR (NO KEY )?UPDATE|^(INSERT|UPDATE|DELETE)")
    assert not [one for one in statements_of(show) if written.search(one)]


@every_delayed_action
@pytest.mark.usefixtures("reason_required")
@pytest.mark.one_in(4)
def test_action_needs_a_reason_if_the_setting_says_so(case: Case, operator: Client) -> None:
    before = case.stored()
    [problem] = problems_of(act(operator, case.url, **case.arguments))
    assert problem.startswith("A reason is required.")
    assert case.stored() == before
    assert not LogEntry.objects.exists()
    assert messages_of(act(operator, case.url, _reason="why not", **case.arguments))
    assert case.stored() != before


@every_delayed_change
@pytest.mark.one_in(4)
def test_change_by_another_person_is_shown_before_the_action(case: Case, operator: Client) -> None:
    data = typed(operator, case.url, _reason="pilot", **case.arguments)
    with acting_as("bob"):
        WRITES[case.pages].update(case.key, {"description": "Newer"})
    before = case.stored()
    assert before is not None
    response = operator.post(case.url, data | {"_confirmed": "1"})
    assert problems_of(response) == [
        f"“{case.key}” has changed since the page was shown. Press the button again.",
        'bob: description "" → "Newer"',
    ]
    shown = Screen(response).fields()
    assert {**case.arguments, "_reason": "pilot"}.items() <= shown.items()
    assert case.stored() == before
    answer(operator, response)
    # What a person has not edited keeps the newer description.
    assert case.stored() == {**before, **case.fields}


SEEN = {"", "change", "history"}
TOGGLED = {*SEEN, "kill", "on", "rollout"}
EDITED = {*TOGGLED, "release", "rules", "unit", "details"}


@pytest.mark.parametrize(
    ("pages", "permissions", "allowed"),
    [
        (FLAGS, "change_keyvaluestore", set()),
        (FLAGS, "view_featureflag", SEEN),
        (FLAGS, "toggle_featureflag", TOGGLED),
        (FLAGS, "change_featureflag", EDITED),
        (FLAGS, "change_featureflag view_user", {*EDITED, "allow", "disallow"}),
        (FLAGS, "add_featureflag", {"add"}),
        (FLAGS, "delete_featureflag", set()),
        (VALUES, "toggle_featureflag", set()),
        (VALUES, "view_keyvaluestore", SEEN),
        (VALUES, "change_keyvaluestore", {*SEEN, "set", "set-for-everyone", "rules", "details"}),
        (VALUES, "add_keyvaluestore", {"add"}),
        (VALUES, "delete_keyvaluestore", set()),
        (SEGMENTS, "toggle_featureflag", set()),
        (SEGMENTS, "view_segment", SEEN),
        (SEGMENTS, "change_segment", {*SEEN, "conditions", "details"}),
        (SEGMENTS, "add_segment", {"add"}),
        (SEGMENTS, "delete_segment", set()),
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.one_in(4)
def test_pages_need_a_permission(
    method: str, pages: str, permissions: str, allowed: set[str]
) -> None:
    client, pk = staff(*permissions.split()), MODELS[pages]._default_manager.get().pk
    urls = {one.name: one.url for one in CASES if one.pages == pages}
    urls |= {"": pages, **{name: f"{pages}{pk}/{name}/" for name in ("change", "history")}}
    found = set()
    for name, url in urls.items():
        count = Change.objects.count()
        status = getattr(client, method)(url, {"_confirmed": "1"}).status_code
        assert status in {200, 302, 403}
        if status != 403:
            found.add(name)
        else:
            assert Change.objects.count() == count
    assert found == allowed


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


@pytest.mark.parametrize(("pages", "name"), [(FLAGS, "featureflag"), (SEGMENTS, "segment")])
@pytest.mark.parametrize(("flag", "right"), [(ADDITION, "delete"), (DELETION, "add")])
@pytest.mark.parametrize("may_undo", [False, True])
def test_message_links_to_an_undo_that_the_user_may_do(
    pages: str, name: str, flag: int, right: str, *, may_undo: bool
) -> None:
    [case] = [one for one in CASES if (one.pages, one.flag) == (pages, flag)]
    # Users lose the flag that is deleted, and get it back.
    rights = ["view", case.name, "toggle" if pages == FLAGS else "view", *([right] * may_undo)]
    client = staff(*(f"{one}_{name}" for one in rights))
    assert len(undo_urls(act(client, case.url, **case.arguments))) == may_undo


@every_deletion
def test_deletion_types_the_key_in_production(case: Case, operator: Client, settings: Any) -> None:
    production(settings)
    shown = operator.get(case.url)
    assert text_to_type(shown) == case.key
    for text in ("", "other", case.key.upper()):
        response = answer(operator, shown, _typed_key=text, _reason="pilot")
        assert problems_of(response) == [f"Not confirmed: type “{case.key}” exactly."]
        assert Screen(response).fields("_reason") == {"_reason": "pilot"}
    assert case.stored() is not None
    answer(operator, shown, _typed_key=f" {case.key} ")
    assert case.stored() is None


@every([one for one in CASES if one.flag == ADDITION])
def test_user_who_may_only_add_rows_gets_back_to_the_index(case: Case) -> None:
    client = staff(f"add_{MODELS[case.pages].__name__.lower()}")
    response = act(client, case.url, **case.arguments)
    assert response.redirect_chain == [("/admin/", 302)]


@every_action
@pytest.mark.one_in(4)
def test_page_of_a_row_that_is_gone_says_so(case: Case, operator: Client) -> None:
    urls = {f"{case.pages}{{}}/{name}/" for name in (case.name, "change", "history")}
    for url in urls - {f"{case.pages}{{}}/add/"}:
        odd = ("9" * 31, "\x00", "a/b") if case.name in url else ()
        for pk in ("0", "x", *odd):
            [message] = messages_of(operator.get(url.format(quote(pk)), follow=True))
            assert f"with ID “{pk}” doesn" in message
