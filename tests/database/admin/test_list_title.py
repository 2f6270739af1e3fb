"""The titles of the lists."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from tests.support.admin_pages import FLAGS, page
from tests.support.experiment_pages import EXPERIMENTS
from tests.support.plan_pages import PLANS

pytestmark = pytest.mark.django_db

APP = FLAGS.removesuffix("featureflag/")
LISTS = {
    "Feature flags": FLAGS,
    "Values": f"{APP}keyvaluestore/",
    "Segments": f"{APP}segment/",
    "Rollout plans": PLANS,
    "Experiments": EXPERIMENTS,
}


def titles(html: str) -> list[str]:
    """Returns the title of the window, without that of the site, and the heading."""
    found = [re.search(rf"<{tag}>([^<]*)", html) for tag in ("title", "h1")]
    return [one[1].partition(" | ")[0].strip() for one in found if one]


@pytest.mark.parametrize(("title", "url"), LISTS.items())
def test_list_is_named_after_what_it_shows(title: str, url: str, admin_client: Client) -> None:
    assert titles(page(admin_client, url)) == [title, title]


def test_list_in_a_popup_asks_to_select(admin_client: Client) -> None:
    html = page(admin_client, f"{LISTS['Segments']}?_popup=1")
    assert titles(html) == ["Select segment", "Select segment"]
