"""Helpers that read the admin's pages in tests."""

from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.test import Client
from django.utils.safestring import SafeString

from tests.support.screen import Screen
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


def browser_of(username: str) -> Client:
    """A client where a user is logged in that exists."""
    client = Client()
    client.force_login(User.objects.get(username=username))
    return client


def permit(user: User, *permissions: str) -> None:
    for permission in permissions:
        user.user_permissions.add(Permission.objects.get(codename=permission))


def page(client: Client, url: str = FLAGS, **query: str) -> str:
    """Returns the HTML of a page, or a CSV. The history of a row is the page of its changes."""
    response: Any = client.get(url, query or None, follow="/history/" in url)
    assert response.status_code == 200
    return str(response.getvalue().decode())


def show(client: Client, url: str, **query: str) -> Screen:
    """Opens a page, also one that another one leads to, and returns what a person sees."""
    response: Any = client.get(url, query or None, follow=True)
    assert response.status_code == 200
    return Screen(response)


def count_queries(client: Client, url: str = FLAGS) -> int:
    """Returns the number of queries of a page, without the savepoints of its transactions."""
    return len(statements_of(lambda: page(client, url)))


def column(html: str, name: str) -> list[str]:
    """Returns the texts of a column of the list, from top to bottom."""
    return Screen(html).texts(f"td.field-{name}, th.field-{name}")


def content_of(html: str) -> str:
    """Returns the text of a page, without the menu around it."""
    return Screen(html).part("#content").text


def rows_of(html: str) -> list[str]:
    """Returns the text of each row of the table of a page."""
    return Screen(html).texts("#content tbody tr")


def event_keys(html: str) -> list[str]:
    """Returns the key of each event of a page, and its kind unless it is a flag."""
    events = Screen(html).all(".flagstaff-event")
    changes = [event.part(".flagstaff-change").text for event in events]
    subjects = [event.part("p:not(.flagstaff-quiet)").text for event in events]
    return [
        subject.removesuffix(change).strip()
        for subject, change in zip(subjects, changes, strict=True)
    ]


def events_of(html: str) -> list[str]:
    """Returns the text of each event of a page, from top to bottom, without its buttons."""
    return [" ".join(event.texts("p")) for event in Screen(html).all(".flagstaff-event")]


def listed_keys(html: str) -> list[str]:
    """Returns the keys in a list of flags, from top to bottom."""
    return Screen(html).texts("span.flagstaff-key")


def messages_of(response: Any) -> list[str]:
    """Returns the messages that a page shows, as text, without the links to undo.

    Those of a redirect are what the page shows that it leads to.
    """
    return [_message_text(message.message) for message in get_messages(response.wsgi_request)]


def _message_text(message: str) -> str:
    if not isinstance(message, SafeString):
        return message
    screen = Screen(message)
    links = "".join(f" {text}" for text in screen.texts(".flagstaff-undo"))
    return screen.text.replace(links, "")


def undo_urls(response: Any) -> list[str]:
    """Returns the links to undo in the messages that a page shows."""
    return Screen(_messages(response)).attributes(".flagstaff-undo", "href")


def message_links(response: Any) -> list[tuple[str, str]]:
    """Returns the text and the address of each link in the messages that a page shows."""
    return Screen(_messages(response)).links


def _messages(response: Any) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


# The pages that ask before they write.


def production(settings: Any, name: str = "Production", **others: Any) -> None:
    """Makes the deployment production, with these other settings."""
    environment = {"name": name, "color": "red", "production": True}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ENVIRONMENT": environment, **others}


def flag_url(flag: Any, view: str = "change") -> str:
    return f"{FLAGS}{flag.pk}/{view}/"


def row_url(row: Any, view: str = "change") -> str:
    """Returns the URL of a page of a row of any kind."""
    return f"/admin/{row._meta.app_label}/{row._meta.model_name}/{row.pk}/{view}/"


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
    return response.status_code == 200 and any(
        form.all("button.flagstaff-confirm") for form in _asking_forms(response)
    )


def confirmed(response: Any, **changes: str) -> dict[str, Any]:
    """Returns what a browser would post for a page that asks, by its first button."""
    assert _asking_forms(response), response.status_code
    form = _asking_forms(response)[0]
    buttons = form.all("button.flagstaff-confirm[name]")[:1]
    pressed = {button["name"]: button["value"] for button in buttons}
    return {**form.posted(), **pressed, **changes}


def typed(client: Client, url: str, **arguments: Any) -> dict[str, Any]:
    """Returns what a browser would post for the page of an action after these edits."""
    return edited(Screen(page(client, url)), **arguments)


def edited(shown: Screen, **arguments: Any) -> dict[str, Any]:
    """Returns what a browser would post for a page after these edits.

    An argument that is given as JSON replaces its rows.
    """
    rows = tuple(f"{name}-" for name in arguments)
    posted = shown.fields().items()
    return {name: value for name, value in posted if not name.startswith(rows)} | arguments


def act(client: Client, url: str, **arguments: Any) -> Any:
    """Types these arguments on the page of an action, confirms it if it asks, and follows."""
    typed_key = {name: arguments.pop(name) for name in ("_typed_key",) if name in arguments}
    response = client.post(url, typed(client, url, **arguments), follow=True)
    if asks(response):
        response = client.post(url, Screen(response).fields() | typed_key, follow=True)
    return response


def act_and_stay(client: Client, url: str, data: dict[str, Any]) -> Any:
    """Posts this to the page of an action, confirms it if it asks, and does not follow."""
    response = client.post(url, data)
    return client.post(url, Screen(response).fields()) if asks(response) else response


def question(client: Client, url: str, **arguments: Any) -> Any:
    """Types these arguments on the page of an action, and returns the page that asks."""
    response = client.post(url, typed(client, url, **arguments))
    assert asks(response), response.status_code
    return response


def answer(client: Client, response: Any, **changes: str) -> Any:
    """Posts what a page that asks has shown, with changes, and follows."""
    url = response.wsgi_request.path
    shown: dict[str, Any] = Screen(response).posted()
    return client.post(url, shown | changes, follow=True)


def links_of(html: str) -> list[str]:
    """Returns the actions that the page of a row links to."""
    links = Screen(html).texts("#content a:not([class]):not([aria-label])")
    return [text.removesuffix("…") for text in links if text.endswith("…")]


def errors_of(response: Any) -> list[str]:
    """Returns why a page of an action was not accepted."""
    assert response.status_code == 200
    return [
        str(message)
        for messages in response.context["form"].errors.values()
        for message in messages
    ]


def _asking_forms(response: Any) -> list[Screen]:
    forms = Screen(response).all("form[method=post]")
    return [form for form in forms if form.all("[name=_confirmed]")]


def preview_of(response: Any) -> dict[str, list[str]]:
    """Returns the two cells of each line of the last table of a page that asks: now, and after."""
    forms = Screen(response).all("form[method=post]")
    [form] = [form for form in forms if form.all(".flagstaff-confirm")]
    *_, table = form.all("table")
    return {field: cells for field, *cells in table.rows}


def notes_of(response: Any) -> list[str]:
    """Returns the sentences about the users on a page that asks."""
    return Screen(response).texts("p[class=flagstaff-notice]")


def problems_of(response: Any) -> list[str]:
    """Returns why a page that asks is shown again."""
    assert response.status_code == 200
    return Screen(response).texts("#flagstaff-problems li")


def text_to_type(response: Any) -> str:
    """Returns what a page that asks wants to be typed; empty for nothing."""
    texts = [
        text
        for form in _asking_forms(response)
        for text in form.texts("label[for=id_typed_key] code")
    ]
    return texts[0] if texts else ""


# Parts of pages.


def inline_of(html: str) -> list[str]:
    """Returns the styles and scripts in the content of a page that a strict policy forbids."""
    content = Screen(html).part("#content")
    parts = content.all('[style], style, script:not([src]), [href^="javascript:"]')
    handlers = [name for part in content.all("*") for name in part.names if name.startswith("on")]
    return [part.html for part in parts] + handlers


def text_of(html: str) -> str:
    """Returns the visible text of a page in one line."""
    return Screen(html).text


def table(html: str, heading: str) -> list[list[str]]:
    """Returns the rows of the first table after a heading."""
    return Screen(html.partition(heading)[2]).all("tbody")[0].rows
