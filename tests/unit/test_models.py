from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.models import NOT_PROVIDED, Model

from flagstaff._tables import names
from flagstaff._tables.model_fields import ownership_fields
from flagstaff.base_models import AbstractFeatureFlag
from flagstaff.exceptions import ConfigurationError, FlagstaffError, UnknownFlagError
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.models_of_others import flag_fields, model_of

POSTGRES = DatabaseWrapper({}, "nowhere")


def validation_errors(row: Model) -> dict[str, list[str]]:
    """The validation errors of a row by field, without a query."""
    with pytest.raises(ValidationError) as error:
        row.full_clean(validate_unique=False, validate_constraints=False)
    return error.value.message_dict


NEEDED = {
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


def test_new_flag_is_disabled() -> None:
    flag = FeatureFlag(key="new_checkout")
    assert (flag.enabled, flag.rollout_percent, flag.kind) == (False, 0, "release")


def test_new_flag_has_no_rules() -> None:
    assert FeatureFlag(key="new_checkout").rules == []


def test_rules_that_are_no_list_are_refused() -> None:
    assert list(validation_errors(FeatureFlag(key="a", rules={}))) == ["rules"]


def test_null_rules_are_refused_unless_the_column_of_a_project_allows_them() -> None:
    assert list(validation_errors(FeatureFlag(key="a", rules=None))) == ["rules"]
    fields = {"rules": models.JSONField(null=True, blank=True)}
    switch = model_of("Switch", fields, AbstractFeatureFlag)
    switch(key="a", rules=None).full_clean(validate_unique=False, validate_constraints=False)
    assert list(validation_errors(switch(key="a", rules={}))) == ["rules"]


def test_new_flag_has_no_owner_no_tags_and_no_review_date() -> None:
    flag = FeatureFlag(key="new_checkout")
    assert (flag.owner, flag.tags, flag.review_on) == ("", [], None)


@pytest.mark.parametrize("tags", [{}, "", "checkout", [""], None])
def test_tags_that_are_no_list_of_texts_are_refused(tags: object) -> None:
    assert list(validation_errors(FeatureFlag(key="a", tags=tags))) == ["tags"]


@pytest.mark.parametrize("value", [{}, "", {"any": "thing"}])
def test_json_of_a_project_that_is_called_tags_is_its_own(value: object) -> None:
    fields = {"tags": models.JSONField(blank=True, default=dict)}
    switch = model_of("Switch", fields, AbstractFeatureFlag)
    switch(key="a", tags=value).full_clean(validate_unique=False, validate_constraints=False)


def test_subclass_may_remove_the_owner_the_tags_and_the_review_date() -> None:
    removed = dict.fromkeys(("owner", "tags", "review_on"))
    switch = model_of("Switch", removed, AbstractFeatureFlag)
    assert ownership_fields(switch) == {}
    switch(key="a").full_clean(validate_unique=False, validate_constraints=False)


def test_owner_of_more_than_100_characters_is_refused() -> None:
    assert list(validation_errors(FeatureFlag(key="a", owner="x" * 101))) == ["owner"]


@pytest.mark.parametrize("rules", [{}, "", [1]])
def test_rules_that_are_excluded_are_not_validated(rules: object) -> None:
    FeatureFlag(key="a", rules=rules).clean_fields(exclude=["rules"])
    FeatureFlag(key="a", rules=rules).clean()


def test_new_flag_is_bucketed_by_user() -> None:
    assert FeatureFlag(key="new_checkout").bucket_by == "user"


@pytest.mark.parametrize("unit", ["", "groups", "x" * 101])
def test_unusable_bucketing_unit_is_refused(unit: str) -> None:
    assert list(validation_errors(FeatureFlag(key="a", bucket_by=unit))) == ["bucket_by"]


def test_segment_without_conditions_is_refused() -> None:
    assert list(validation_errors(Segment(key="enterprise"))) == ["conditions"]


def test_segment_with_an_invalid_key_is_refused() -> None:
    conditions = [{"attribute": "plan", "operator": "in", "values": ["enterprise"]}]
    assert list(validation_errors(Segment(key="a b", conditions=conditions))) == ["key"]


def test_str_of_a_segment_is_its_key() -> None:
    assert str(Segment(key="enterprise")) == "enterprise"


def test_str_of_a_flag_is_its_key() -> None:
    assert str(FeatureFlag(key="new_checkout")) == "new_checkout"


def test_str_of_a_value_is_its_key() -> None:
    assert str(KeyValueStore(key="payment_gateway")) == "payment_gateway"


@pytest.mark.parametrize("percent", [-1, 101])
def test_rollout_outside_the_range_is_refused(percent: int) -> None:
    assert list(validation_errors(FeatureFlag(key="a", rollout_percent=percent))) == [
        "rollout_percent"
    ]


def test_invalid_key_of_a_flag_is_refused() -> None:
    assert list(validation_errors(FeatureFlag(key="new checkout"))) == ["key"]


@pytest.mark.parametrize("value", ["", [], {}, 0, False, "stripe"])
def test_any_json_is_a_valid_value(value: object) -> None:
    KeyValueStore(key="a", value=value).full_clean(
        validate_unique=False, validate_constraints=False
    )


def test_key_without_a_value_is_refused() -> None:
    message = 'the value is missing or null; write JSON, such as "stripe", 25 or []'
    assert validation_errors(KeyValueStore(key="a")) == {"value": [message]}


def test_str_of_an_entry_has_the_action_and_the_actor() -> None:
    entry = Change(relation="m", action="update", key="new_checkout", actor="alice")
    assert str(entry) == "update of allowed users new_checkout by alice"


def test_str_of_an_entry_without_actor_has_the_session_user() -> None:
    entry = Change(relation="f", action="delete", key="new_checkout", session_user="psql")
    assert str(entry) == "delete of flag new_checkout by psql"


def test_names_are_read_from_the_models() -> None:
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
        "flag_rules": '"rules"',
        "flag_bucket_by": '"bucket_by"',
        "allowed_users_table": '"flagstaff_featureflag_allowed_users"',
        "allowed_users_flag": '"featureflag_id"',
        "allowed_users_flag_type": "bigint",
        "allowed_users_user": '"user_id"',
        "allowed_users_type": "int8",
        "value_table": '"flagstaff_keyvaluestore"',
        "value_pk": '"id"',
        "value_key": '"key"',
        "value_value": '"value"',
        "segment_table": '"flagstaff_segment"',
        "segment_pk": '"id"',
        "segment_key": '"key"',
        "segment_conditions": '"conditions"',
        "membership_table": '"auth_user_groups"',
        "membership_user": '"user_id"',
        "membership_group": '"group_id"',
        "membership_user_type": "int8",
        "group_table": '"auth_group"',
        "group_pk": '"id"',
        "group_name": '"name"',
        "plan_table": '"flagstaff_rollouts_plan"',
        "step_run_table": '"flagstaff_rollouts_steprun"',
        "signal_count_table": '"flagstaff_rollouts_signalcount"',
        "seen_register_table": '"flagstaff_rollouts_seenregister"',
        "failed_unit_table": '"flagstaff_rollouts_failedunit"',
        "signal_worker_table": '"flagstaff_rollouts_signalworker"',
        "experiment_table": '"flagstaff_experiments_experiment"',
        "exposure_table": '"flagstaff_experiments_exposure"',
        "lost_exposures_table": '"flagstaff_experiments_lostexposures"',
        "exposure_worker_table": '"flagstaff_experiments_exposureworker"',
    }


@pytest.mark.parametrize(
    "field",
    [{}, {"rules": models.TextField()}, {"rules": models.ManyToManyField("auth.Group")}],
    ids=["no field", "a text", "a relation"],
)
def test_rules_of_a_model_without_a_json_field_of_this_name_are_null(field: Any) -> None:
    model = model_of("Switch", flag_fields() | field)
    assert names.flag_names(POSTGRES, model)["flag_rules"] == "NULL::jsonb"


@pytest.mark.parametrize(
    "field",
    [{}, {"bucket_by": models.IntegerField()}, {"bucket_by": models.ManyToManyField("auth.Group")}],
    ids=["no field", "a number", "a relation"],
)
def test_bucketing_unit_of_a_model_without_a_text_field_of_this_name_is_null(field: Any) -> None:
    model = model_of("Switch", flag_fields() | field)
    assert names.flag_names(POSTGRES, model)["flag_bucket_by"] == "NULL::text"


@pytest.mark.parametrize("field", [models.CharField(max_length=9), models.TextField()], ids=type)
def test_bucketing_unit_of_a_model_is_read_from_its_text_field(field: Any) -> None:
    model = model_of("Switch", flag_fields(bucket_by=field))
    assert names.flag_names(POSTGRES, model)["flag_bucket_by"] == '"bucket_by"'


def test_flag_model_without_required_fields_is_an_error() -> None:
    with pytest.raises(ConfigurationError) as error:
        names.flag_names(POSTGRES, KeyValueStore)
    assert str(error.value) == (
        "flagstaff.KeyValueStore has no field 'allowed_users'; a flag model has key, enabled, "
        "rollout_percent and allowed_users, a value model has key and value"
    )


def test_name_with_braces_is_not_read_as_a_template() -> None:
    filled = names.fill("SELECT {a} FROM {b}", {"a": '"{b}"', "b": '"t"'})
    assert filled == 'SELECT "{b}" FROM "t"'


def test_error_without_a_message_has_the_docstring_as_message() -> None:
    assert str(UnknownFlagError()).startswith("no flag has this key; check the spelling")
    assert str(UnknownFlagError("no flag 'a'")) == "no flag 'a'"
    assert isinstance(UnknownFlagError(), LookupError | FlagstaffError)
