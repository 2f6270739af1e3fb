"""Reads and posts the rows of the rule editor, as a browser without a script does."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.test import Client

from flagstaff.models import FeatureFlag, Segment
from tests.support.admin_pages import FLAGS, SEGMENTS, form_data
from tests.support.form_inputs import inputs_of


def url_of(row: FeatureFlag | Segment) -> str:
    base = FLAGS if isinstance(row, FeatureFlag) else SEGMENTS
    return f"{base}{row.pk}/change/"


def browser_form(client: Client, row: FeatureFlag | Segment, **rows: str) -> dict[str, Any]:
    """What a browser posts for the page of a row, with other values of some inputs."""
    response = client.get(url_of(row))
    data = form_data(response)
    field = "rules" if isinstance(row, FeatureFlag) else "conditions"
    data.pop(field)
    found = inputs_of(response.content.decode(), f"{field}-")
    return data | found | {name.replace("_", "-"): value for name, value in rows.items()}


def rows(html: str) -> dict[str, str]:
    return inputs_of(html, "rules-")


def edit(client: Client, row: FeatureFlag | Segment, data: dict[str, Any], button: str) -> str:
    """Posts a form with a button of the editor, and returns the page."""
    return client.post(url_of(row), data | {"_rule_edit": button}).content.decode()


def without(data: dict[str, Any], *prefixes: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if not name.startswith(prefixes)}


def problems(html: str) -> list[tuple[str, str]]:
    """The ids and the texts of the problems at rows."""
    found = re.findall(r'<p class="[^"]*flagstaff-row-problem" id="([^"]*)">(.*?)</p>', html)
    return [(name, unescape(text)) for name, text in found]


def save(client: Client, row: FeatureFlag | Segment, data: dict[str, Any]) -> None:
    response = client.post(url_of(row), data)
    assert response.status_code == 302, response.context["adminform"].form.errors
    row.refresh_from_db()
