"""The admin's options for models of other projects, as Django's checks see them."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import lookup_field
from django.contrib.auth.models import User
from django.db import models
from django.forms import CharField
from django.test import RequestFactory

from flagstaff.admin import FeatureFlagAdmin, KeyValueStoreAdmin
from flagstaff.admin.flag_list.filters import MineFilter
from flagstaff.admin.flag_rules import RulesFilter, count_rules
from flagstaff.admin.json_fields import RulesField
from flagstaff.admin.ownership import OwnerFilter, TagFilter, TagsField
from flagstaff.validators import validate_tags
from tests.support.models_of_others import flag_fields, model_of, value_fields

LINKS = {
    "featureflag": models.ForeignKey("FeatureFlag", models.CASCADE),
    "user": models.ForeignKey(User, models.CASCADE, related_name="+"),
}


def problems(model_admin: type[Any], model: Any) -> list[str]:
    """Returns the ids of the errors that Django's checks find."""
    return [error.id for error in model_admin(model, AdminSite()).check()]


def test_model_with_few_fields_has_no_problem() -> None:
    assert problems(FeatureFlagAdmin, model_of("FeatureFlag", flag_fields())) == []
    assert problems(KeyValueStoreAdmin, model_of("KeyValueStore", value_fields())) == []


def test_own_table_of_allowed_users_has_no_problem() -> None:
    allowed = models.ManyToManyField(User, through="Allowed", related_name="+")
    fields = flag_fields(allowed_users=allowed)
    assert problems(FeatureFlagAdmin, model_of("FeatureFlag", fields, through=LINKS)) == []


def test_wrong_name_in_subclass_is_a_problem() -> None:
    class Misspelt(FeatureFlagAdmin):
        list_filter = ("kind", "enabled", "enabeld")

    assert problems(Misspelt, model_of("FeatureFlag", flag_fields())) == ["admin.E116"]


def test_fieldsets_of_subclass_keep_what_the_model_has() -> None:
    class Own(FeatureFlagAdmin):
        fieldsets = ((None, {"fields": ("key", "description", "enabled")}),)

    model_admin = Own(model_of("FeatureFlag", flag_fields()), AdminSite())
    assert model_admin.fieldsets == ((None, {"fields": ("key", "enabled")}),)


def test_flag_without_time_of_change_has_empty_cell() -> None:
    time = models.DateTimeField(null=True)
    model = model_of("FeatureFlag", flag_fields(changed_at=time))
    assert FeatureFlagAdmin(model, AdminSite()).changed(model(key="a")) == ""


def test_missing_description_is_not_shown() -> None:
    text = models.TextField(null=True)
    flag_model = model_of("FeatureFlag", flag_fields(description=text))
    shown = FeatureFlagAdmin(flag_model, AdminSite()).flag(flag_model(pk=1, key="a"))
    assert "None" not in shown

    value_model = model_of("KeyValueStore", value_fields(description=models.TextField(null=True)))
    row = value_model(key="a", value=1)
    assert KeyValueStoreAdmin(value_model, AdminSite()).short_description(row) == ""


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


def test_property_of_model_is_not_used_as_field() -> None:
    names = ("kind", "description", "changed_at")
    model = model_of("FeatureFlag", flag_fields(**dict.fromkeys(names, property(str))))
    model_admin = FeatureFlagAdmin(model, AdminSite())
    assert model_admin.check() == []
    assert [one for one in model_admin.list_filter if isinstance(one, str)] == ["enabled"]
    assert model_admin.search_fields == ("key",)
    assert "changed" not in model_admin.list_display
    fields = [name for _title, options in model_admin.fieldsets for name in options["fields"]]
    assert fields == ["key", "enabled", "rollout_percent", "allowed_users", "changed_at"]


def test_property_named_kind_is_shown() -> None:
    model = model_of("FeatureFlag", flag_fields(kind=property(lambda _flag: "ops")))
    _field, _attribute, shown = lookup_field("kind", model(), FeatureFlagAdmin(model, AdminSite()))
    assert shown == "ops"


def test_ownership_of_own_model_is_a_fieldset_with_filters_and_a_search() -> None:
    fields = {
        "owner": models.TextField(null=True),
        "tags": models.JSONField(default=list, validators=[validate_tags]),
        "review_on": models.DateField(null=True),
    }
    model_admin = FeatureFlagAdmin(model_of("FeatureFlag", flag_fields(**fields)), AdminSite())
    assert model_admin.check() == []
    assert model_admin.fieldsets[-1][1]["fields"] == ("owner", "tags", "review_on")
    assert {OwnerFilter, TagFilter} < {*model_admin.list_filter}
    assert model_admin.search_fields == ("key", "owner")


def test_model_without_ownership_has_no_fieldset_and_no_filters() -> None:
    model_admin = FeatureFlagAdmin(model_of("FeatureFlag", flag_fields()), AdminSite())
    fields = {name for _title, options in model_admin.fieldsets for name in options["fields"]}
    assert fields == {"key", "enabled", "rollout_percent", "allowed_users"}
    ownership = {OwnerFilter, TagFilter, MineFilter}
    assert not ownership & {*model_admin.list_filter}
    assert model_admin.search_fields == ("key",)


def test_other_fields_with_the_names_of_ownership_are_ordinary_fields() -> None:
    fields = {
        "owner": models.ForeignKey(User, models.CASCADE, null=True, related_name="+"),
        "tags": models.JSONField(default=dict),
        "review_on": models.DateTimeField(null=True, editable=False),
    }
    model = model_of("FeatureFlag", flag_fields(**fields))
    model_admin = FeatureFlagAdmin(model, AdminSite())
    assert model_admin.check() == []
    shown = {title: options["fields"] for title, options in model_admin.fieldsets}
    assert shown == {
        "Release": ("key", "enabled", "rollout_percent"),
        "Targeting": ("allowed_users",),
        "Details": ("owner", "tags"),
    }
    assert not {OwnerFilter, TagFilter} & {*model_admin.list_filter}
    assert model_admin.search_fields == ("key",)
    field = model_admin.formfield_for_dbfield(
        model._meta.get_field("tags"), RequestFactory().get("")
    )
    assert not isinstance(field, TagsField)


def test_search_of_a_subclass_keeps_its_fields() -> None:
    class Own(FeatureFlagAdmin):
        search_fields = ("key", "owner")

    owner = models.TextField(null=True)
    assert Own(model_of("FeatureFlag", flag_fields(owner=owner)), AdminSite()).search_fields == (
        "key",
        "owner",
    )


def test_rules_of_own_model_are_a_field_and_a_filter() -> None:
    model = model_of("FeatureFlag", flag_fields(rules=models.JSONField(default=list)))
    model_admin = FeatureFlagAdmin(model, AdminSite())
    assert model_admin.check() == []
    assert RulesFilter in model_admin.list_filter
    field = model_admin.formfield_for_dbfield(
        model._meta.get_field("rules"), RequestFactory().get("")
    )
    assert isinstance(field, RulesField)


def test_other_column_that_is_called_rules_is_an_ordinary_field() -> None:
    model = model_of("FeatureFlag", flag_fields(rules=models.TextField()))
    model_admin = FeatureFlagAdmin(model, AdminSite())
    assert model_admin.check() == []
    assert RulesFilter not in model_admin.list_filter
    field = model_admin.formfield_for_dbfield(
        model._meta.get_field("rules"), RequestFactory().get("")
    )
    assert type(field) is CharField
    assert count_rules(model(rules="text")) == 0


def test_fields_of_subclass_keep_what_the_model_has() -> None:
    class Own(FeatureFlagAdmin):
        fields = ("key", ("enabled", "kind"), "rules")

    model_admin = Own(model_of("FeatureFlag", flag_fields()), AdminSite())
    assert model_admin.check() == []
    assert model_admin.fieldsets == ((None, {"fields": ("key", ("enabled",))}),)
