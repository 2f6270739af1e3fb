"""The optional fields of a project's flag model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import models
from django.test import override_settings

from flagstaff._tables.optional_fields import FlagModel, OptionalFields, flag_model, optional_fields
from flagstaff.conf import Conf
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.validators import validate_tags
from tests.support.models_of_others import flag_fields, model_of

OTHERS: dict[str, Any] = {
    "rules": models.TextField(),
    "bucket_by": models.IntegerField(),
    "owner": models.ForeignKey(User, models.CASCADE),
    "tags": models.JSONField(),
    "review_on": models.DateTimeField(),
    "client_side": models.IntegerField(),
    "created_at": models.DateField(),
}
NULLABLE: dict[str, Any] = {
    "rules": models.JSONField(null=True),
    "bucket_by": models.TextField(null=True),
    "owner": models.CharField(max_length=9, null=True),
    "tags": models.JSONField(null=True, validators=[validate_tags]),
    "review_on": models.DateField(null=True),
    "client_side": models.BooleanField(null=True),
    "changed_at": models.DateTimeField(null=True),
}


def test_flag_model_of_flagstaff_has_every_optional_field() -> None:
    assert FlagModel.of(FeatureFlag).fields.keys() == vars(OptionalFields()).keys()


def test_model_without_optional_fields_reads_as_the_defaults() -> None:
    model = model_of("Switch", flag_fields())
    assert FlagModel.of(model).fields == {}
    assert optional_fields(model(key="a")) == OptionalFields()


def test_fields_of_other_types_belong_to_the_project_and_are_not_read() -> None:
    model = model_of("Switch", flag_fields(**OTHERS))
    assert FlagModel.of(model).fields == {}
    # Reading the owner would be a query, which a unit test cannot make.
    assert optional_fields(model(key="a", rules="x", owner_id=1)) == OptionalFields()


def test_null_reads_as_the_default() -> None:
    model = model_of("Switch", flag_fields(**NULLABLE))
    assert FlagModel.of(model).fields.keys() == NULLABLE.keys()
    assert optional_fields(model(key="a", **dict.fromkeys(NULLABLE))) == OptionalFields()


def test_stored_values_are_read_and_times_are_aware() -> None:
    model = model_of("Switch", flag_fields(**NULLABLE))
    flag = model(owner="web", tags=["a"], client_side=True, changed_at=datetime(2026, 1, 2))  # noqa: DTZ001
    with override_settings(USE_TZ=False, TIME_ZONE="UTC"):
        fields = optional_fields(flag)
    assert (fields.owner, fields.tags, fields.client_side) == ("web", ["a"], True)
    assert fields.changed_at == datetime(2026, 1, 2, tzinfo=UTC)


def test_changed_setting_gives_the_other_model(monkeypatch: pytest.MonkeyPatch) -> None:
    assert flag_model().has("rules")
    monkeypatch.setattr(Conf, "flag_model", model_of("Switch", flag_fields()))
    assert not flag_model().has("rules")


def test_row_of_a_value_has_the_fields_that_values_share_with_flags() -> None:
    assert optional_fields(KeyValueStore(key="a", description="x")).description == "x"
