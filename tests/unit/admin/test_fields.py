"""The admin's options for models of other projects, as Django's checks see them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.utils import lookup_field
from django.contrib.auth.models import User
from django.db import models
from django.forms import CharField
from django.test import RequestFactory
from django.utils import translation
from pytest_django.asserts import assertHTMLEqual

from flagstaff.admin import FeatureFlagAdmin, KeyValueStoreAdmin
from flagstaff.admin.flag.form.inputs import TagsField
from flagstaff.admin.flag.form.rules import count_rules
from flagstaff.admin.flag.list.filters import OwnerFilter, RulesFilter, TagFilter
from flagstaff.admin.flag.list.part import TAGS_TEXT
from flagstaff.admin.json_fields import RulesField
from flagstaff.validators import validate_tags
from tests.support.models_of_others import flag_fields, model_of, value_fields


def flag_admin(**fields: Any) -> Any:
    """The admin of a flag model with these further fields, which has no problem."""
    model_admin = FeatureFlagAdmin(model_of("FeatureFlag", flag_fields(**fields)), AdminSite())
    assert model_admin.check() == []
    return model_admin


def shown_fields(model_admin: Any) -> list[str]:
    return [name for _title, options in model_admin.fieldsets for name in options["fields"]]


def form_field(model_admin: Any, name: str) -> Any:
    field = model_admin.model._meta.get_field(name)
    return model_admin.formfield_for_dbfield(field, RequestFactory().get(""))


def test_model_with_few_fields_has_no_problem() -> None:
    assert FeatureFlagAdmin(model_of("FeatureFlag", flag_fields()), AdminSite()).check() == []
    assert KeyValueStoreAdmin(model_of("KeyValueStore", value_fields()), AdminSite()).check() == []
    # An own table of allowed users.
    allowed = models.ManyToManyField(User, through="Allowed", related_name="+")
    links = {
        "featureflag": models.ForeignKey("FeatureFlag", models.CASCADE),
        "user": models.ForeignKey(User, models.CASCADE, related_name="+"),
    }
    model = model_of("FeatureFlag", flag_fields(allowed_users=allowed), through=links)
    assert FeatureFlagAdmin(model, AdminSite()).check() == []


@pytest.mark.parametrize("language", ["en", "de"])
def test_box_that_selects_a_row_is_that_of_django_or_of_a_theme(language: str) -> None:
    model = model_of("FeatureFlag", flag_fields())
    flag, own = model(pk=1, key='a"<b>'), FeatureFlagAdmin(model, AdminSite())
    with translation.override(language):
        expected = ModelAdmin(model, AdminSite()).action_checkbox(flag)
        assertHTMLEqual(own.action_checkbox(flag), expected)
    theme = type("Theme", (ModelAdmin,), {"action_checkbox": lambda _self, flag: f"of {flag.pk}"})
    themed: Any = type("Own", (FeatureFlagAdmin, theme), {})
    assert themed(model, AdminSite()).action_checkbox(flag) == "of 1"


def test_wrong_name_in_subclass_is_a_problem() -> None:
    class Misspelt(FeatureFlagAdmin):
        list_filter = ("kind", "enabled", "enabeld")

    [problem] = Misspelt(model_of("FeatureFlag", flag_fields()), AdminSite()).check()
    assert problem.id == "admin.E116"


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (
            {"fieldsets": ((None, {"fields": ("key", "description", "enabled")}),)},
            ("key", "enabled"),
        ),
        ({"fields": ("key", ("enabled", "kind"), "rules")}, ("key", ("enabled",))),
    ],
)
def test_fields_of_a_subclass_keep_what_the_model_has(options: Any, shown: Any) -> None:
    own = type("Own", (FeatureFlagAdmin,), options)
    model_admin = own(model_of("FeatureFlag", flag_fields()), AdminSite())
    assert model_admin.check() == []
    assert model_admin.fieldsets == ((None, {"fields": shown}),)


def test_missing_time_of_change_and_description_are_not_shown() -> None:
    text, time = models.TextField(null=True), models.DateTimeField(null=True)
    model = model_of("FeatureFlag", flag_fields(description=text, changed_at=time))
    flag: Any = model(pk=1, key="a")
    flag.allowed_count = 0
    flags: Any = FeatureFlagAdmin(model, AdminSite())
    assert flags.changed(flag) == ""
    assert "None" not in flags.flag(flag)
    model = model_of("KeyValueStore", value_fields(description=models.TextField(null=True)))
    row = model(key="a", value=1)
    values: Any = KeyValueStoreAdmin(model, AdminSite())
    assert values.short_description(row) == ""


def test_columns_of_subclass_may_have_names_of_missing_fields() -> None:
    class Own(FeatureFlagAdmin):
        list_display = ("flag", "created_at", "client_side", "description")
        readonly_fields = ("created_at", "kind")
        fieldsets = ((None, {"fields": ("key", "created_at", "kind", "description")}),)

        def created_at(self, _flag: Any) -> str:
            return "yesterday"

        def client_side(self, _flag: Any) -> str:
            return "no"

    model = model_of("FeatureFlag", flag_fields(kind=property(lambda _flag: "ops")))
    model_admin: Any = Own(model, AdminSite())
    assert model_admin.check() == []
    assert model_admin.list_display == ("flag", "created_at", "client_side")
    assert model_admin.readonly_fields == ("created_at", "kind")
    assert model_admin.fieldsets == ((None, {"fields": ("key", "created_at", "kind")}),)
    assert lookup_field("kind", model(), model_admin)[2] == "ops"


def test_property_of_model_is_not_used_as_field() -> None:
    names = ("kind", "description", "changed_at")
    model_admin = flag_admin(**dict.fromkeys(names, property(str)))
    assert [one for one in model_admin.list_filter if isinstance(one, str)] == []
    assert model_admin.search_fields == ("key",)
    assert "changed" not in model_admin.list_display
    fields = ["key", "enabled", "rollout_percent", "allowed_users", "changed_at"]
    assert shown_fields(model_admin) == fields


def test_ownership_of_own_model_is_a_fieldset_with_filters_and_a_search() -> None:
    model_admin = flag_admin(
        owner=models.TextField(null=True),
        tags=models.JSONField(default=list, validators=[validate_tags]),
        review_on=models.DateField(null=True),
    )
    assert model_admin.fieldsets[-1][1]["fields"] == ("owner", "tags", "review_on")
    assert {OwnerFilter, TagFilter} < {*model_admin.list_filter}
    assert model_admin.search_fields == ("key", "owner", TAGS_TEXT)


def test_model_without_ownership_has_no_fieldset_and_no_filters() -> None:
    model_admin = flag_admin()
    assert {*shown_fields(model_admin)} == {"key", "enabled", "rollout_percent", "allowed_users"}
    assert not {OwnerFilter, TagFilter} & {*model_admin.list_filter}
    assert model_admin.search_fields == ("key",)


def test_bulk_actions_are_those_for_fields_of_the_model() -> None:
    def names(model_admin: Any) -> set[str]:
        return {one.__name__ for one in model_admin.actions}

    always = {"turn_on", "turn_off", "export_csv"}
    assert names(flag_admin()) == always
    assert names(flag_admin(owner=models.TextField(null=True))) == {*always, "set_owner"}
    assert names(flag_admin(tags=models.JSONField(default=dict))) == always


def test_other_fields_with_the_names_of_ownership_are_ordinary_fields() -> None:
    model_admin = flag_admin(
        owner=models.ForeignKey(User, models.CASCADE, null=True, related_name="+"),
        tags=models.JSONField(default=dict),
        review_on=models.DateTimeField(null=True, editable=False),
    )
    shown = {title: options["fields"] for title, options in model_admin.fieldsets}
    assert shown == {
        "Release": ("key", "enabled", "rollout_percent"),
        "Targeting": ("allowed_users",),
        "Details": ("owner", "tags"),
    }
    assert not {OwnerFilter, TagFilter} & {*model_admin.list_filter}
    assert model_admin.search_fields == ("key",)
    assert not isinstance(form_field(model_admin, "tags"), TagsField)


def test_search_of_a_subclass_keeps_its_fields() -> None:
    class Own(FeatureFlagAdmin):
        search_fields = ("key", "owner")

    model = model_of("FeatureFlag", flag_fields(owner=models.TextField(null=True)))
    assert Own(model, AdminSite()).search_fields == ("key", "owner")


def test_rules_are_a_field_and_a_filter_unless_the_column_has_another_type() -> None:
    model_admin = flag_admin(rules=models.JSONField(default=list))
    assert RulesFilter in model_admin.list_filter
    assert isinstance(form_field(model_admin, "rules"), RulesField)
    model_admin = flag_admin(rules=models.TextField())
    assert RulesFilter not in model_admin.list_filter
    assert type(form_field(model_admin, "rules")) is CharField
    assert count_rules(model_admin.model(rules="text")) == 0
