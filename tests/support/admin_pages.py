"""Helpers that read the admin's pages in tests."""

from __future__ import annotations

import re
from hashlib import sha256
from html import unescape
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils.html import strip_tags
from django.utils.safestring import SafeString

from tests.support.form_inputs import inputs_of
from tests.support.sql import statements_of

FLAGS = "/admin/flagstaff/featureflag/"
VALUES = "/admin/flagstaff/keyvaluestore/"
SEGMENTS = "/admin/flagstaff/segment/"
RECENT = "/admin/flagstaff/featureflag/changes/"


def staff(*permissions: str, name: str = "staff") -> Client:
    """A client logged in as a staff user with these permissions."""
    user = User.objects.create_user(name, is_staff=True)
    permit(user, *permissions)
    client = Client()
    client.force_login(user)
    return client


def permit(user: User, *permissions: str) -> None:
    """Grants permissions to a user."""
    for permission in permissions:
        user.user_permissions.add(Permission.objects.get(codename=permission))


def page(client: Client, url: str = FLAGS) -> str:
    """Returns the HTML of a page, or a CSV. The history of a row is the page of its changes."""
    response: Any = client.get(url, follow="/history/" in url)
    assert response.status_code == 200
    return str(response.getvalue().decode())


def count_queries(client: Client, url: str = FLAGS) -> int:
    """Returns the number of queries of a page, without the savepoints of its transactions."""
    return len(statements_of(lambda: page(client, url)))


def column(html: str, name: str) -> list[str]:
    """Returns the texts of a column of the list, from top to bottom."""
    cells = re.findall(rf'<t[dh] class="field-{name}[^"]*">(.*?)</t[dh]>', html, re.DOTALL)
    # The second line of a cell.
    return [" ".join(strip_tags(cell.replace("<small", " <small")).split()) for cell in cells]


def rows_of(html: str) -> list[str]:
    """Returns the text of each row of the table of a page."""
    [table] = re.findall(r"<tbody>(.*)</tbody>", html, re.DOTALL)
    rows = re.findall(r"<tr.*?>(.*?)</tr>", table, re.DOTALL)
    return [unescape(" ".join(strip_tags(row.replace("<", " <")).split())) for row in rows]


def event_keys(html: str) -> list[str]:
    """Returns the key of each event of a page, and its kind unless it is a flag."""
    found = re.findall(
        r'<li class="flagstaff-event[ "][^>]*>(.*?)<span class="flagstaff-change', html, re.DOTALL
    )
    return [unescape(" ".join(strip_tags(event).split())) for event in found]


def events_of(html: str) -> list[str]:
    """Returns the text of each event of a page, from top to bottom, without its buttons."""
    events = re.findall(r'<li class="flagstaff-event[ "].*?</li>', html, re.DOTALL)
    texts = (event.partition('<div class="flagstaff-links">')[0] for event in events)
    return [unescape(" ".join(strip_tags(text).split())) for text in texts]


def listed_keys(html: str) -> list[str]:
    """Returns the keys in a list of flags, from top to bottom."""
    keys = re.findall(r'<span class="flagstaff-key"[^>]*>([^<]*)<', html)
    return [unescape(key) for key in keys]


def messages_of(response: Any) -> list[str]:
    """Returns the messages that a page shows, as text, without the links to undo."""
    return [_message_text(one.message) for one in response.context["messages"]]


def _message_text(message: str) -> str:
    text = re.sub(r' <a class="[^"]*flagstaff-undo".*?</a>', "", str(message))
    return unescape(text) if isinstance(message, SafeString) else text


def undo_urls(response: Any) -> list[str]:
    """Returns the links to undo in the messages that a page shows."""
    messages = " ".join(str(message) for message in response.context["messages"])
    return [unescape(url) for url in re.findall(r'flagstaff-undo" href="([^"]*)"', messages)]


# The pages that ask before they write.


def production(settings: Any, name: str = "Production", **others: Any) -> None:
    """Makes the deployment production, with these other settings."""
    environment = {"name": name, "color": "red", "production": True}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ENVIRONMENT": environment, **others}


def flag_url(flag: Any, view: str = "change") -> str:
    """Returns the URL of a page of a flag."""
    return f"{FLAGS}{flag.pk}/{view}/"


def undo_url(*versions: int | None) -> str:
    """Returns the URL of the page that undoes these events."""
    return f"{RECENT}?{urlencode([('undo', version) for version in versions])}"


def undo_all_url(version: int | None) -> str:
    """Returns the URL of the page that undoes the transaction of an event."""
    return f"{RECENT}?transaction={version}&undo=all"


def undo(client: Client, *versions: int | None, **data: str) -> Any:
    """Opens the page that undoes events, confirms it, and returns the page after it."""
    return undo_at(client, undo_url(*versions), **data)


def undo_at(client: Client, url: str, **data: str) -> Any:
    """Opens a page that undoes, confirms it if it can be, and returns the page after it."""
    response = client.get(url)
    return (
        client.post(url, confirmed(response, **data), follow=True) if asks(response) else response
    )


def restore_url(version: int | None) -> str:
    """Returns the URL of the page that restores a version."""
    return f"{RECENT}?restore={version}"


def state(flag: Any) -> tuple[bool, int]:
    """Returns whether a flag is stored as enabled, and its stored rollout."""
    flag.refresh_from_db()
    return flag.enabled, flag.rollout_percent


def bucket_of(key: str, unit: object) -> int:
    """Returns the bucket of a user, or of another unit, by the definition in the documentation."""
    return int(sha256(f"{key}:{unit}".encode()).hexdigest(), 16) % 100


def toggle_url(flag: Any, view: str, back: str = "") -> str:
    """Returns the URL of the page that kills a flag or turns it on, as the list links to it."""
    query = f"?{urlencode({'back': back})}" if back else ""
    return f"{flag_url(flag, view)}{query}"


def kill(client: Client, flag: Any, back: str = "", **data: str) -> Any:
    """Confirms the page that kills a flag, and returns the page after it."""
    return client.post(toggle_url(flag, "kill", back), data, follow=True)


def turn_on(client: Client, flag: Any, back: str = "", **data: str) -> Any:
    """Opens the page that turns a flag on, confirms it, and returns the page after it."""
    url = toggle_url(flag, "on", back)
    return client.post(url, confirmed(client.get(url), **data), follow=True)


def asks(response: Any) -> bool:
    """Whether a response is a page that asks for a confirmation, and has the button for it."""
    button = re.compile(r"<button [^>]*flagstaff-confirm")
    return response.status_code == 200 and bool(button.search(_form_of(response)))


def confirmed(response: Any, **changes: str) -> dict[str, Any]:
    """Returns what a browser would post for a page that asks, by its first button."""
    form = _form_of(response)
    assert form, response.status_code
    tags = re.findall(r"<input [^>]*>|<button [^>]*flagstaff-confirm[^>]*>", form)
    data: dict[str, Any] = {}
    for tag in tags:
        found = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if "name" in found:
            data.setdefault(unescape(found["name"]), []).append(unescape(found.get("value", "")))
    return {**data, **changes}


def typed(client: Client, url: str, **arguments: Any) -> dict[str, Any]:
    """Returns what a browser would post for the page of an action after these edits.

    An argument that is given as JSON replaces its rows.
    """
    shown = inputs_of(page(client, url), "")
    rows = tuple(f"{name}-" for name in arguments)
    return {name: value for name, value in shown.items() if not name.startswith(rows)} | arguments


def act(client: Client, url: str, **arguments: Any) -> Any:
    """Types these arguments on the page of an action, confirms it if it asks, and follows."""
    typed_key = {name: arguments.pop(name) for name in ("_typed_key",) if name in arguments}
    response = client.post(url, typed(client, url, **arguments), follow=True)
    if asks(response):
        shown = inputs_of(response.content.decode(), "")
        response = client.post(url, shown | typed_key, follow=True)
    return response


def answer(client: Client, response: Any, **changes: str) -> Any:
    """Posts what a page that asks has shown, with changes, and follows."""
    url = response.wsgi_request.path
    shown = inputs_of(response.content.decode(), "")
    return client.post(url, shown | changes, follow=True)


def links_of(html: str) -> list[str]:
    """Returns the actions that the page of a row links to."""
    return re.findall(r'<a href="[^"]*">([^<]+)…</a>', html)


def errors_of(response: Any) -> list[str]:
    """Returns why a page of an action was not accepted."""
    assert response.status_code == 200
    return [str(one) for found in response.context["form"].errors.values() for one in found]


def _form_of(response: Any) -> str:
    found = [form for form in _forms_in(response) if 'name="_confirmed"' in form]
    return found[0] if found else ""


def _forms_in(response: Any) -> list[str]:
    return re.findall(r'<form method="post">(.*?)</form>', response.content.decode(), re.DOTALL)


def preview_of(response: Any) -> dict[str, list[str]]:
    """Returns the two cells of each line of the last table of a page that asks: now, and after."""
    [form] = [one for one in _forms_in(response) if "flagstaff-confirm" in one]
    *_, table = re.findall(r"<tbody>(.*?)</tbody>", form, re.DOTALL)
    lines = re.findall(
        r"<th.*?>(.*?)</th>.*?<td.*?>(.*?)</td>.*?<td.*?>(.*?)</td>", table, re.DOTALL
    )
    return {field: [unescape(now), unescape(after)] for field, now, after in lines}


def notes_of(response: Any) -> list[str]:
    """Returns the sentences about the users on a page that asks."""
    html = response.content.decode()
    found = re.findall(r'<p class="flagstaff-notice">(.*?)</p>', html, re.DOTALL)
    return [unescape(note) for note in found]


def problems_of(response: Any) -> list[str]:
    """Returns why a page that asks is shown again."""
    assert response.status_code == 200
    html = response.content.decode()
    found = re.findall(r'id="flagstaff-problems"[^>]*>(.*?)</ul>', html, re.DOTALL)
    return [unescape(one) for part in found for one in re.findall(r"<li>(.*?)</li>", part)]


def text_to_type(response: Any) -> str:
    """Returns what a page that asks wants to be typed; empty for nothing."""
    found = re.findall(r'<label for="id_typed_key">.*?<code[^>]*>(.*?)</code>', _form_of(response))
    return unescape(found[0]) if found else ""
