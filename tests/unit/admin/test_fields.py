"""The admin's options for models of other projects, as Django's checks see them."""

import pytest
from django.contrib.admin import AdminSite, ModelAdmin
from django.db import models
from django.utils import translation
from pytest_django.asserts import assertHTMLEqual

from flagstaff.admin import FeatureFlagAdmin
from tests.support.models_of_others import flag_model_of


def test_admin_of_a_model_with_more_columns_has_no_problem() -> None:
    flags = FeatureFlagAdmin(flag_model_of(team=models.TextField()), AdminSite())
    assert flags.check() == []


@pytest.mark.parametrize("language", ["en", "de"])
def test_box_that_selects_a_row_is_that_of_django(language: str) -> None:
    model = flag_model_of("FeatureFlag")
    flag, own = model(pk=1, key='a"<b>'), FeatureFlagAdmin(model, AdminSite())
    with translation.override(language):
        expected = ModelAdmin(model, AdminSite()).action_checkbox(flag)
        assertHTMLEqual(own.action_checkbox(flag), expected)


def test_wrong_name_in_subclass_is_a_problem() -> None:
    class Misspelt(FeatureFlagAdmin):
        list_filter = ("kind", "enabled", "enabeld")

    [problem] = Misspelt(flag_model_of("FeatureFlag"), AdminSite()).check()
    assert problem.id == "admin.E116"
