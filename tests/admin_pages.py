"""Helpers that read the admin's pages in tests."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils.html import strip_tags

__all__ = [
    "FLAGS",
    "SEGMENTS",
    "VALUES",
    "column",
    "errors",
    "form_data",
    "messages_of",
    "page",
    "permit",
    "staff",
]

FLAGS = "/admin/flagstaff/featureflag/"
VALUES = "/admin/flagstaff/keyvaluestore/"
SEGMENTS = "/admin/flagstaff/segment/"


def staff(*permissions: str) -> Client:
    """A client logged in as a staff user with these permissions."""
    user = User.objects.create_user("staff", password="staff", is_staff=True)
    permit(user, *permissions)
    client = Client()
    client.force_login(user)
    return client


def permit(user: User, *permissions: str) -> None:
    """Grants permissions to a user."""
    for permission in permissions:
        user.user_permissions.add(Permission.objects.get(codename=permission))


def page(client: Client, url: str = FLAGS) -> str:
    """Returns the HTML of a page."""
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def column(html: str, name: str) -> list[str]:
    """Returns the texts of a column of the list, from top to bottom."""
    cells = re.findall(rf'<t[dh] class="field-{name}[^"]*">(.*?)</t[dh]>', html, re.DOTALL)
    return [" ".join(strip_tags(cell).split()) for cell in cells]


def errors(client: Client, url: str, data: dict[str, Any]) -> dict[str, list[str]]:
    """Posts a form and returns its errors by field."""
    response = client.post(url, data)
    assert response.status_code == 200
    return dict(response.context["adminform"].form.errors)


def form_data(response: Any) -> dict[str, Any]:
    """Returns what a browser would post for the form of a page."""
    form = response.context["adminform"].form
    values = {field.html_name: field.value() for field in form}
    return {name: value for name, value in values.items() if value not in (None, False)}


def messages_of(response: Any) -> list[str]:
    """Returns the messages that a page shows."""
    return [str(message) for message in response.context["messages"]]
