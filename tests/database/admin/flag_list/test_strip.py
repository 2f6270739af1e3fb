"""The strip above the lists: filters as menus, and what is kept for themes and own filters."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import path
from django.utils.html import strip_tags

from flagstaff.admin.flag.admin import FeatureFlagAdmin
from flagstaff.admin.flag.list.filters import StateFilter
from flagstaff.admin.flag.parts.app_panels import AppPart
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, VALUES, column, flag_url, page

pytestmark = pytest.mark.django_db

OWN_FILTER = "own/filter.html"


def menus(html: str) -> list[str]:
    """Returns the words of the menus."""
    found = re.findall(r"<summary[^>]*>(.*?)</summary>", html, re.DOTALL)
    return [unescape(" ".join(strip_tags(one).split())) for one in found]


def use_templates(settings: Any, templates: dict[str, str]) -> None:
    """Adds templates that come before those of the apps."""
    [first, *others] = settings.TEMPLATES
    options = dict(first["OPTIONS"])
    options["loaders"] = [
        ("django.template.loaders.locmem.Loader", templates),
        "django.template.loaders.app_directories.Loader",
    ]
    settings.TEMPLATES = [{**first, "APP_DIRS": False, "OPTIONS": options}, *others]


def use_admin(settings: Any, own: type[FeatureFlagAdmin]) -> None:
    site = admin.AdminSite()
    site.register(FeatureFlag, own)
    settings.ROOT_URLCONF = (path("admin/", site.urls),)


def test_menus_name_the_choices_that_are_set(operator: Client) -> None:
    FeatureFlag.objects.create(key="a", owner="web", tags=["x"])
    assert menus(page(operator))[:5] == ["State", "Owner", "Tag", "Changed", "More"]
    html = page(operator, f"{FLAGS}?state=off&owner=web&has_rules=no")
    state, owner, *_others, more = menus(html)[:5]
    assert (state, owner) == ("State: off", "Owner: web")
    assert more == "More · rules: without rules"
    assert "1 result" in html


def test_choice_that_does_not_exist_is_not_shown_as_one(operator: Client) -> None:
    assert "State: …" in menus(page(operator, f"{FLAGS}?state=%3Cb%3E"))


def test_list_of_values_has_the_same_strip(operator: Client) -> None:
    html = page(operator, VALUES)
    assert 'class="flagstaff-strip"' in html
    assert 'id="changelist-filter"' not in html


def test_search_keeps_the_filters_and_a_filter_keeps_the_search(operator: Client) -> None:
    FeatureFlag.objects.create(key="a")
    html = page(operator, f"{FLAGS}?state=off&q=a")
    assert '<input type="hidden" name="state" value="off">' in html
    assert re.search(r'href="\?(?:changed=1h&amp;)?[^"]*q=a[^"]*state=on', html)


def test_list_of_a_theme_keeps_its_own_place_for_filters(operator: Client, settings: Any) -> None:
    theme = "{% extends 'admin/change_list.html' %}{% block pretitle %}themed{% endblock %}"
    use_templates(settings, {"admin/change_list.html": theme})
    html = page(operator)
    assert "themed" in html
    assert 'id="changelist-filter"' in html
    assert 'class="flagstaff-strip"' not in html


def test_filter_with_a_template_of_its_own_is_rendered_by_it(
    operator: Client, settings: Any
) -> None:
    class OwnFilter(StateFilter):
        template = OWN_FILTER
        parameter_name = "own"

    class Own(FeatureFlagAdmin):
        list_filter = (OwnFilter,)

    use_templates(settings, {OWN_FILTER: "own template of {{ title }}"})
    use_admin(settings, Own)
    assert "own template of state" in page(operator)


def test_app_that_needs_attention_is_red_in_the_list_and_on_the_page(
    operator: Client, settings: Any
) -> None:
    class Broken(AppPart):
        app_label = "flagstaff"

        def attention(self, flags: Any) -> dict[str, str]:
            """Every flag."""
            return {str(flag.pk): "rolled <b>back</b>" for flag in flags}

    class Own(FeatureFlagAdmin):
        def part_classes(self) -> Any:
            """With the part of an app."""
            return (*self.parts, Broken)

    use_admin(settings, Own)
    flag = FeatureFlag.objects.create(key="a")
    text = "rolled &lt;b&gt;back&lt;/b&gt;"
    assert f'<span class="flagstaff-state flagstaff-attention">{text}</span>' in page(operator)
    assert f'<p class="flagstaff-notice flagstaff-alarm">{text}</p>' in page(
        operator, flag_url(flag)
    )
    assert column(page(operator), "flag") == ["a off rolled &lt;b&gt;back&lt;/b&gt;"]


def test_page_of_a_theme_has_its_own_heading_and_ours_has_one(
    operator: Client, settings: Any
) -> None:
    flag = FeatureFlag.objects.create(key="a")
    assert re.findall("<h1[^>]*>(.*?)</h1>", page(operator, flag_url(flag))) == ["a"]
    theme = "{% extends 'admin/change_form.html' %}{% block pretitle %}themed{% endblock %}"
    use_templates(settings, {"admin/change_form.html": theme})
    html = page(operator, flag_url(flag))
    assert "themed" in html
    assert re.findall("<h1[^>]*>(.*?)</h1>", html) == ["a"]
