"""Reads and posts the rows of the rule editor, as a browser without a script does."""

from __future__ import annotations

import re
from html import unescape
from typing import Any, TypeAlias

from django.test import Client

from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.admin_pages import FLAGS, VALUES, form_data
from tests.support.form_inputs import inputs_of

_Row: TypeAlias = FeatureFlag | KeyValueStore
_LISTS = {FeatureFlag: FLAGS, KeyValueStore: VALUES}


def url_of(row: _Row) -> str:
    return f"{_LISTS[type(row)]}{row.pk}/change/"


def browser_form(client: Client, row: _Row, **rows: str) -> dict[str, Any]:
    """What a browser posts for the page of a row, with other values of some inputs."""
    response = client.get(url_of(row))
    data = form_data(response)
    data.pop("rules")
    found = inputs_of(response.content.decode(), "rules-")
    return data | found | {name.replace("_", "-"): value for name, value in rows.items()}


def rows(html: str) -> dict[str, str]:
    return inputs_of(html, "rules-")


def edit(client: Client, row: _Row, data: dict[str, Any], button: str) -> str:
    """Posts a form with a button of the editor, and returns the page."""
    return client.post(url_of(row), data | {"_rule_edit": button}).content.decode()


def without(data: dict[str, Any], *prefixes: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if not name.startswith(prefixes)}


def problems(html: str) -> list[tuple[str, str]]:
    """The ids and the texts of the problems at rows."""
    found = re.findall(r'<p class="[^"]*flagstaff-row-problem" id="([^"]*)">(.*?)</p>', html)
    return [(name, unescape(text)) for name, text in found]


def save(client: Client, row: _Row, data: dict[str, Any]) -> None:
    response = client.post(url_of(row), data)
    assert response.status_code == 302, response.context["adminform"].form.errors
    row.refresh_from_db()
