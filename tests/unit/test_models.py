from __future__ import annotations

from typing import Any

import pytest
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.models import NOT_PROVIDED, Model

from flagstaff._tables import database
from flagstaff.exceptions import ConfigurationError, FlagstaffError, UnknownFlagError
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.models_of_others import value_model_of

POSTGRES = DatabaseWrapper({}, "nowhere")


NEEDED: dict[type[Model], set[str]] = {
    FeatureFlag: {"key"},
    KeyValueStore: {"key", "value"},
    Segment: {"key", "conditions"},
}


@pytest.mark.parametrize("model", NEEDED)
def test_column_that_plain_sql_may_omit_has_a_database_default(model: type[Model]) -> None:
    needed = {
        field.name
        for field in model._meta.concrete_fields
        if not (field.primary_key or field.null) and field.db_default is NOT_PROVIDED
    }
    assert needed == NEEDED[model]


def test_new_flag_is_disabled_and_targets_and_belongs_to_no_one() -> None:
    flag = FeatureFlag(key="new_checkout")
    assert (flag.enabled, flag.rollout_percent, flag.kind) == (False, 0, "release")
    assert (flag.rules, flag.bucket_by) == ([], "user")
    assert (flag.owner, flag.tags, flag.review_on) == ("", [], None)


# tests/unit/changes has what the other fields refuse.
@pytest.mark.parametrize("model", NEEDED)
def test_key_with_white_space_is_refused(model: type[Model]) -> None:
    others = [field.name for field in model._meta.fields if field.name != "key"]
    with pytest.raises(ValidationError, match="white space at position 2"):
        model(key="a b").clean_fields(exclude=others)


@pytest.mark.parametrize("rules", [{}, "", [1]])
def test_rules_that_are_excluded_are_not_validated(rules: object) -> None:
    FeatureFlag(key="a", rules=rules).clean_fields(exclude=["rules"])
    FeatureFlag(key="a", rules=rules).clean()


def test_str_of_a_row_is_its_key_and_that_of_an_entry_has_the_action_and_the_actor() -> None:
    for model in (FeatureFlag, KeyValueStore, Segment):
        assert str(model(key="new_checkout")) == "new_checkout"
    entry = Change(relation="m", action="update", key="new_checkout", actor="alice")
    assert str(entry) == "update of allowed users new_checkout by alice"
    # By SQL.
    entry = Change(relation="f", action="delete", key="new_checkout", session_user="psql")
    assert str(entry) == "delete of flag new_checkout by psql"


@pytest.mark.parametrize("value", ["", [], {}, 0, False, "stripe"])
def test_any_json_is_a_valid_value_but_none(value: object) -> None:
    KeyValueStore(key="a", value=value).clean_fields()
    message = 'the value is missing or null; write JSON, such as "stripe", 25 or []'
    with pytest.raises(ValidationError) as error:
        KeyValueStore(key="a").clean_fields()
    assert error.value.message_dict == {"value": [message]}


def test_names_are_read_from_the_models() -> None:
    expected = {
        "flag_table": '"flagstaff_featureflag"',
        "flag_rollout": '"rollout_percent"',
        "flag_client_side": '"client_side"',
        "flag_rules": '"rules"',
        "allowed_users_table": '"flagstaff_featureflag_allowed_users"',
        "allowed_users_flag": '"featureflag_id"',
        "allowed_users_user": '"user_id"',
        "allowed_users_type": "int8",
        "allowed_users_user_type": "int8",
        "flag_pk_type": "int8",
        "value_pk_type": "int8",
        "segment_pk_type": "int8",
        "group_pk_type": "int8",
        "membership_user_key_type": "int8",
        "value_value": '"value"',
        "segment_conditions": '"conditions"',
        "membership_table": '"auth_user_groups"',
        "membership_user_type": "int8",
        "plan_table": '"flagstaff_rollouts_plan"',
    }
    all_names = database.names(POSTGRES)
    assert {name: all_names[name] for name in expected} == expected


# Primary keys by the type in which they are compared.
KEY_TYPES: dict[str | None, list[models.Field[Any, Any]]] = {
    "int8": [
        models.SmallAutoField(primary_key=True),
        models.BigAutoField(primary_key=True),
        models.PositiveIntegerField(primary_key=True),
    ],
    "uuid": [models.UUIDField(primary_key=True)],
    "text": [models.CharField(primary_key=True, max_length=50), models.TextField(primary_key=True)],
    None: [
        models.DecimalField(primary_key=True, max_digits=9, decimal_places=0),
        models.GenericIPAddressField(primary_key=True),
        models.DateTimeField(primary_key=True),
        ArrayField(models.CharField(max_length=9), primary_key=True),
    ],
}


@pytest.mark.parametrize(
    ("pk", "expected"), [(pk, expected) for expected, pks in KEY_TYPES.items() for pk in pks]
)
def test_type_of_a_key_is_known_for_integers_uuids_and_texts(
    pk: models.Field[Any, Any], expected: str | None
) -> None:
    model = value_model_of(id=pk.clone())
    assert database.value_names(POSTGRES, model).get("value_pk_type") == expected


def test_flag_model_without_required_fields_is_an_error() -> None:
    with pytest.raises(ConfigurationError) as error:
        database.flag_names(POSTGRES, KeyValueStore)
    assert str(error.value) == (
        "flagstaff.KeyValueStore has no field allowed_users; inherit from AbstractFeatureFlag or "
        "AbstractKeyValueStore, and install triggers after the migration that adds its fields"
    )


def test_name_with_braces_is_not_read_as_a_template() -> None:
    filled = database.fill("SELECT {a} FROM {b}", {"a": '"{b}"', "b": '"t"'})
    assert filled == 'SELECT "{b}" FROM "t"'


def test_error_without_a_message_has_the_docstring_as_message() -> None:
    assert str(UnknownFlagError()).startswith("no flag has this key; check the spelling")
    assert str(UnknownFlagError("no flag 'a'")) == "no flag 'a'"
    assert isinstance(UnknownFlagError(), LookupError | FlagstaffError)
