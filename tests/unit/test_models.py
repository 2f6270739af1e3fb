from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.models import NOT_PROVIDED, Model

from flagstaff._tables import names
from flagstaff.exceptions import ConfigurationError, FlagstaffError, UnknownFlagError
from flagstaff.models import Change, FeatureFlag, KeyValueStore

POSTGRES = DatabaseWrapper({}, "nowhere")


def told(row: Model) -> dict[str, list[str]]:
    """What is wrong with a row, by field, without asking a database."""
    with pytest.raises(ValidationError) as error:
        row.full_clean(validate_unique=False, validate_constraints=False)
    return error.value.message_dict


@pytest.mark.parametrize("model", [FeatureFlag, KeyValueStore])
def test_every_column_that_sql_may_leave_out_has_a_default(model: type[Model]) -> None:
    needed = {
        field.name
        for field in model._meta.concrete_fields
        if not field.primary_key and field.db_default is NOT_PROVIDED
    }
    assert needed == ({"key"} if model is FeatureFlag else {"key", "value"})


def test_new_flag_is_off_for_everyone() -> None:
    flag = FeatureFlag(key="new_checkout")
    assert (flag.enabled, flag.rollout_percent, flag.kind) == (False, 0, "release")


def test_flag_is_shown_by_its_key() -> None:
    assert str(FeatureFlag(key="new_checkout")) == "new_checkout"


def test_value_is_shown_by_its_key() -> None:
    assert str(KeyValueStore(key="payment_gateway")) == "payment_gateway"


@pytest.mark.parametrize("percent", [-1, 101])
def test_rollout_outside_the_range_is_refused(percent: int) -> None:
    assert list(told(FeatureFlag(key="a", rollout_percent=percent))) == ["rollout_percent"]


def test_key_of_a_flag_is_validated() -> None:
    assert list(told(FeatureFlag(key="new checkout"))) == ["key"]


@pytest.mark.parametrize("value", ["", [], {}, 0, False, "stripe"])
def test_any_json_is_a_value(value: object) -> None:
    KeyValueStore(key="a", value=value).full_clean(
        validate_unique=False, validate_constraints=False
    )


def test_key_without_a_value_is_refused() -> None:
    message = 'a value is missing; write JSON, such as "stripe", 25 or []'
    assert told(KeyValueStore(key="a")) == {"value": [message]}


def test_change_says_who_did_what() -> None:
    change = Change(relation="m", action="update", key="new_checkout", actor="alice")
    assert str(change) == "update of allow-list new_checkout by alice"


def test_change_by_nobody_known_names_the_session() -> None:
    change = Change(relation="f", action="delete", key="new_checkout", session_user="psql")
    assert str(change) == "delete of flag new_checkout by psql"


def test_names_are_those_of_the_models() -> None:
    assert names.names(POSTGRES) == {
        "token_table": '"flagstaff_token"',
        "change_table": '"flagstaff_change"',
        "usage_table": '"flagstaff_usage"',
        "usage_worker_table": '"flagstaff_usage_worker"',
        "receiver_table": '"flagstaff_receiver"',
        "delivery_table": '"flagstaff_delivery"',
        "flag_table": '"flagstaff_featureflag"',
        "flag_pk": '"id"',
        "flag_key": '"key"',
        "flag_enabled": '"enabled"',
        "flag_rollout": '"rollout_percent"',
        "flag_client_side": '"client_side"',
        "allowed_users_table": '"flagstaff_featureflag_allowed_users"',
        "allowed_users_flag": '"featureflag_id"',
        "allowed_users_user": '"user_id"',
        "allowed_users_type": "int8",
        "value_table": '"flagstaff_keyvaluestore"',
        "value_pk": '"id"',
        "value_key": '"key"',
        "value_value": '"value"',
    }


def test_model_without_the_fields_of_a_flag_is_told() -> None:
    with pytest.raises(ConfigurationError) as error:
        names.flag_names(POSTGRES, KeyValueStore)
    assert str(error.value) == (
        "flagstaff.KeyValueStore has no field 'allowed_users'; a flag model has key, enabled, "
        "rollout_percent and allowed_users, a value model has key and value"
    )


def test_names_are_filled_in_one_pass() -> None:
    filled = names.fill("SELECT {a} FROM {b}", {"a": '"{b}"', "b": '"t"'})
    assert filled == 'SELECT "{b}" FROM "t"'


def test_error_without_a_message_says_the_remedy() -> None:
    assert str(UnknownFlagError()).startswith("no flag has this key; create it in the admin")
    assert str(UnknownFlagError("no flag 'a'")) == "no flag 'a'"
    assert isinstance(UnknownFlagError(), LookupError | FlagstaffError)
