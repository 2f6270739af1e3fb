"""Helpers for tests of rollout plans in the admin."""

from __future__ import annotations

from typing import Any

from django.test import Client

from flagstaff.rollouts.models import Plan
from tests.support.admin_pages import act
from tests.support.rollouts import KEY
from tests.support.screen import Screen

PLANS = "/admin/flagstaff_rollouts/plan/"


def plan_url(plan: Plan) -> str:
    """Returns the URL of the page of a plan."""
    return f"{PLANS}{plan.pk}/change/"


def action_url(plan: Plan, name: str) -> str:
    """Returns the URL of the page of an action."""
    return f"{PLANS}{plan.pk}/{name}/"


def do(client: Client, plan: Plan, name: str, **arguments: str) -> Any:
    """Opens the page of an action, confirms it, and returns the page after it."""
    return act(client, action_url(plan, name), **arguments)


def actions_of(html: str) -> list[str]:
    """Returns the actions that the page of a plan links to."""
    urls = Screen(html).attributes(f'#content-main a[href^="{PLANS}"]', "href")
    names = [url.rstrip("/").rpartition("/")[2] for url in urls]
    return [name for name in names if name != "change"]


def inline_of(html: str) -> list[str]:
    """Returns the styles and scripts in the content of a page that a strict policy forbids."""
    content = Screen(html).part("#content")
    parts = content.all('[style], style, script:not([src]), [href^="javascript:"]')
    handlers = [name for part in content.all("*") for name in part.names if name.startswith("on")]
    return [part.html for part in parts] + handlers


def text_of(html: str) -> str:
    """Returns the visible text of a page in one line."""
    return Screen(html).text


def table(html: str, heading: str = KEY) -> list[list[str]]:
    """Returns the rows of the first table after a heading."""
    return Screen(html.partition(heading)[2]).all("tbody")[0].rows
