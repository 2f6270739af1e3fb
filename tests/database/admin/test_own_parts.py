"""The part of a project's own that the docs show."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import path

from flagstaff.admin import Part
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import asks, column, flag_url, form_data, page
from tests.support.pages import names_of, rows_of

pytestmark = pytest.mark.django_db

NAME = re.compile("`(.+?)`")


@pytest.fixture(autouse=True)
def own_admin(settings: Any) -> None:
    """A site with the admin of the docs in place of flagstaff's."""
    site = admin.AdminSite()
    site.register(FeatureFlag, names_of("how-to/admin.md", "class Runbook")["FlagAdmin"])
    assert site.get_model_admin(FeatureFlag).check() == []
    settings.ROOT_URLCONF = (path("admin/", site.urls),)


def test_part_of_the_docs_adds_a_column(operator: Client, flag: FeatureFlag) -> None:
    assert column(page(operator), "runbook")[-1] == f"https://wiki.shop.example/{flag.key}"


def test_part_of_the_docs_refuses_a_save_and_keeps_what_was_typed(
    operator: Client, flag: FeatureFlag
) -> None:
    data = {**form_data(operator.get(flag_url(flag))), "description": "One page", "owner": ""}
    form = operator.post(flag_url(flag), data).context["adminform"].form
    assert "add an owner" in str(form.errors)
    assert form["description"].value() == "One page"


def test_refusal_of_a_part_comes_before_the_question_of_an_earlier_one(
    operator: Client, flag: FeatureFlag
) -> None:
    User.objects.create(username="ana")
    data = {**form_data(operator.get(flag_url(flag))), "rollout_percent": 100}
    assert asks(operator.post(flag_url(flag), {**data, "owner": "ana"}))
    response = operator.post(flag_url(flag), {**data, "owner": ""})
    assert not asks(response)
    assert "add an owner" in str(response.context["adminform"].form.errors)


def test_methods_that_the_docs_name_exist() -> None:
    named = [
        name
        for methods, _add in rows_of("how-to/admin.md", "methods")
        for name in NAME.findall(methods)
    ]
    assert "before_save" in named
    assert [name for name in named if not hasattr(Part, name)] == []
