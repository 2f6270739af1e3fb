"""The admin's pages, as tests read them."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils.html import strip_tags

__all__ = ["FLAGS", "VALUES", "column", "errors", "page", "permit", "staff"]

FLAGS = "/admin/flagstaff/featureflag/"
VALUES = "/admin/flagstaff/keyvaluestore/"


def staff(*permissions: str) -> Client:
    """The browser of somebody who may do these things in the admin, and no other."""
    person = User.objects.create_user("staff", password="staff", is_staff=True)
    permit(person, *permissions)
    client = Client()
    client.force_login(person)
    return client


def permit(person: User, *permissions: str) -> None:
    """Let somebody do these things."""
    for permission in permissions:
        person.user_permissions.add(Permission.objects.get(codename=permission))


def page(client: Client, address: str = FLAGS) -> str:
    """What the browser shows."""
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def column(html: str, name: str) -> list[str]:
    """The texts of a column, from the first row to the last."""
    cells = re.findall(rf'<t[dh] class="field-{name}[^"]*">(.*?)</t[dh]>', html, re.DOTALL)
    return [" ".join(strip_tags(cell).split()) for cell in cells]


def errors(client: Client, address: str, sent: dict[str, Any]) -> dict[str, list[str]]:
    """What the page says is wrong, by field."""
    response = client.post(address, sent)
    assert response.status_code == 200
    return dict(response.context["adminform"].form.errors)
