"""Helpers for tests of rollout plans in the admin."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.test import Client
from django.utils.html import strip_tags

from flagstaff.rollouts.models import Plan
from tests.support.admin_pages import act
from tests.support.rollouts import KEY

#: Styles and scripts that a strict policy forbids.
INLINE = re.compile(r"\sstyle=|<style|<script(?![^>]*\ssrc=)|\son\w+=|javascript:")
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
    names = re.findall(rf'href="{PLANS}\d+/([\w-]+)/"', html.partition('id="content-main"')[2])
    return [name for name in names if name != "change"]


def text_of(html: str) -> str:
    """Returns the visible text of a page in one line."""
    return " ".join(unescape(strip_tags(html)).split())


def table(html: str, heading: str = KEY) -> list[list[str]]:
    """Returns the rows of the first table after a heading."""
    after = html.partition(heading)[2]
    [body] = re.findall(r"<tbody>(.*?)</tbody>", after, re.DOTALL)[:1]
    rows = re.findall(r"<tr.*?>(.*?)</tr>", body, re.DOTALL)
    cells = re.compile(r"<t[dh].*?</t[dh]>", re.DOTALL)
    return [[text_of(one) for one in cells.findall(row)] for row in rows]
