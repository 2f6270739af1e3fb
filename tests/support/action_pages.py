"""Pages of rows that are changed by buttons: plans and experiments."""

from __future__ import annotations

import re
from typing import Any

from django.test import Client

_VERSION = re.compile(r'name="expect_version" value="([^"]+)"')


def button_names(html: str) -> list[str]:
    """Returns the buttons of a page."""
    return re.findall(r'name="_button" value="(\w+)"', html)


def confirm_page(client: Client, url: str, name: str) -> str:
    """Presses a button, and returns the page that asks for a confirmation."""
    response = client.post(url, {"_button": name})
    assert response.status_code == 200
    return response.content.decode()


def press(client: Client, url: str, name: str, **more: Any) -> Any:
    """Presses a button of the page and confirms. Returns the page that follows."""
    [version] = _VERSION.findall(client.get(url).content.decode())
    data = {"_button": name, "expect_version": version, "_confirmed": "1", **more}
    return client.post(url, data, follow=True)
