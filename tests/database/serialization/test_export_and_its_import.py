"""Exports: what a file contains, and that an import restores it."""

import json
from datetime import date
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import JSONField, Value
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flagstaff import changes, serialization
from flagstaff.exceptions import FlagstaffError, UnknownFlagError
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.documents import (
    MASK,
    SHOP,
    database_state,
    dry_run,
    export_text,
    import_problems,
    import_text,
)
from tests.support.pages import code_of

pytestmark = pytest.mark.usefixtures("open_shop")


def test_export_is_readable_json() -> None:
    assert export_text(keys=["page_size", "mail_password", "beta_reviews"]) == SHOP


def test_export_of_the_same_rows_is_the_same_text() -> None:
    first = export_text()
    assert "hunter2" not in first
    flag = FeatureFlag.objects.get(key="beta_reviews")
    flag.allowed_users.clear()
    flag.allowed_users.add(2)
    flag.allowed_users.add(1)
    flag.save()
    assert export_text() == first
    assert [*json.loads(export_text())["flags"]] == sorted(database_state()[0])


def test_export_of_everything_needs_few_queries() -> None:
    with CaptureQueriesContext(connection) as queries:
        serialization.export(versions=True)
    assert len(queries) <= 13


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("new_chekout", "did you mean 'new_checkout'"),
        ("page_sise", "did you mean 'page_size'"),
        ("enterprize", "did you mean 'enterprise'"),
        ("nothing_like_it", '"value list" and "segment list" list all keys'),
    ],
)
def test_export_of_an_unknown_key_suggests_the_nearest(key: str, advice: str) -> None:
    message = f"there is no flag, value or segment '{key}'; .*{advice}"
    with pytest.raises(UnknownFlagError, match=message):
        serialization.export([key])


def test_export_of_a_flag_and_a_value_with_one_key_is_refused() -> None:
    KeyValueStore.objects.create(key="dark_mode", value=1)
    with pytest.raises(FlagstaffError, match="a flag and a value have the key 'dark_mode'"):
        serialization.export()


def test_user_without_a_username_is_exported_by_primary_key() -> None:
    User.objects.filter(pk=2).update(username="")
    [*_, ref] = serialization.export(["beta_reviews"])["flags"]["beta_reviews"]["allowed_users"]
    assert ref == {"pk": 2}
    before = database_state()
    FeatureFlag.objects.get(key="beta_reviews").allowed_users.clear()
    import_text(SHOP.replace('"bob"', '{"pk": 2}'))
    assert database_state() == before


def test_import_of_an_export_writes_nothing() -> None:
    exported = export_text()
    entries = Change.objects.count()
    with CaptureQueriesContext(connection) as queries:
        imported = import_text(exported)
    assert (imported.changed, imported.undo, imported.unchanged) == ({}, None, 9)
    assert Change.objects.count() == entries
    statements = [query["sql"].split()[0] for query in queries]
    assert set(statements) <= {"SELECT", "SAVEPOINT", "RELEASE"}


# Keys that look like another type, and letters of any alphabet.
KEYS = st.text(st.characters(categories=["L", "Nd"], include_characters="_-."), min_size=1).filter(
    lambda key: not key.startswith("-")
) | st.sampled_from(["on", "yes", "y", "null", "012", "1e3", "1_000", "2026-11-20", ".inf", "0o17"])
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
) | st.sampled_from(
    ["no", "0o17", "1:30", ".inf", "- a", "# b", "a\n b\n", "\n\n x", " trailing \n", "|", "\ufeff"]
)
SCALARS = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
JSON = st.recursive(
    st.none() | SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
).filter(lambda value: value is not None and value != MASK)
USERNAMES = ("alice", "bob", "no", "42", "on@x.example", "a+b")
USERS = st.lists(st.sampled_from(USERNAMES), unique=True)
NAMES = TEXTS.map(lambda text: text[:20]).filter(bool)
CONDITION = st.fixed_dictionaries(
    {
        "attribute": NAMES,
        "operator": st.just("in"),
        "values": st.lists(SCALARS, min_size=1, max_size=3),
    },
    optional={"negate": st.booleans()},
)
CONDITIONS = st.lists(CONDITION, min_size=1, max_size=3)
RULE = st.fixed_dictionaries({"name": NAMES, "conditions": CONDITIONS})
FLAG = st.fixed_dictionaries(
    {
        "enabled": st.booleans(),
        "rollout_percent": st.integers(0, 100),
        "description": TEXTS,
        "kind": st.sampled_from(["release", "ops", "permission"]),
        "client_side": st.booleans(),
        "rules": st.lists(RULE, max_size=2),
        "owner": st.sampled_from(["", "payments", "on"]),
        "tags": st.lists(st.sampled_from(["checkout", "on", "1.5"]), unique=True),
        # The years that the database accepts.
        "review_on": st.none() | st.dates(date(2, 1, 1), date(8999, 12, 31)),
    }
)
FLAGS = st.dictionaries(KEYS.map(lambda key: key[:255]), st.tuples(FLAG, USERS), max_size=4)
VALUE_RULE = st.builds(lambda rule, value: {**rule, "value": value}, RULE, JSON)
VALUE_RULES = st.lists(VALUE_RULE, max_size=2)
# No value has the key of a flag.
VALUES = st.dictionaries(
    KEYS.map(lambda key: f"{key[:250]}.v"), st.tuples(JSON, TEXTS, VALUE_RULES), max_size=4
)


def delete_everything() -> None:
    for model in (FeatureFlag, KeyValueStore, Segment):
        model.objects.all().delete()


@pytest.mark.thorough
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(flags=FLAGS, values=VALUES, conditions=CONDITIONS)
def test_import_restores_deleted_rows_exactly(
    flags: dict[str, Any], values: dict[str, Any], conditions: list[Any]
) -> None:
    delete_everything()
    users = {name: User.objects.get_or_create(username=name)[0] for name in USERNAMES}
    for key, (fields, usernames) in flags.items():
        flag = FeatureFlag.objects.create(key=key, **fields)
        flag.allowed_users.set([users[name] for name in usernames])
    for key, (value, description, rules) in values.items():
        KeyValueStore.objects.create(key=key, value=value, description=description, rules=rules)
    Segment.objects.create(key="enterprise", conditions=conditions)
    # As jsonb stores its numbers.
    stored = Segment.objects.get().conditions
    before, exported = database_state(), export_text()
    assert import_text(exported).changed == {}
    delete_everything()
    import_text(exported)
    assert database_state() == before
    assert Segment.objects.get().conditions == stored
    assert export_text() == exported


def test_null_value_is_unchanged_and_a_new_null_is_rejected() -> None:
    KeyValueStore.objects.create(key="nothing", value=Value(None, JSONField()))
    exported = export_text()
    assert not dry_run(exported).changed
    changes.values.update("nothing", {"value": 1})
    [problem] = import_problems(exported)
    assert "values.nothing: value: the value is missing or null" in problem
    changes.values.delete("nothing")
    [problem] = import_problems(exported)
    assert "values.nothing: value: the value is missing or null; write JSON" in problem


def test_number_in_another_notation_is_unchanged() -> None:
    changes.values.create("much", 10**16)
    changes.values.create("nothing", 0.0)
    text = '{"flagstaff": 1, "values": {"much": {"value": 1e16}, "nothing": {"value": -0.0}}}'
    assert import_text(text).changed == {}


def test_file_on_the_page_can_be_imported() -> None:
    [text] = code_of("how-to/export-import.md", "json", having="enterprise")
    User.objects.create(pk=42, username="carol")
    changes.values.create("api_token", "hunter2", secret=True)
    import_text(text)
    assert database_state()[0]["new_checkout"]["allowed"] == {"alice", "carol"}
    assert KeyValueStore.objects.get(key="api_token").value == "hunter2"
