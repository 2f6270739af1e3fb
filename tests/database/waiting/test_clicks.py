"""How many clicks it takes in the console to schedule, to ask a colleague, and to approve."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from flagstaff.models import WaitingAction
from tests.support.admin_pages import FLAGS
from tests.support.screen import Screen
from tests.support.shop import Shop
from tests.support.waiting import ask, state_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("plain_terminal")]

KEY = "summer_banner"
START, END = (f"{timezone.now() + timedelta(days=days):%Y-%m-%dT%H:%M}" for days in (2, 4))


class Person:
    """A person in a browser, who clicks what the page shows."""

    def __init__(self, client: Client, url: str) -> None:
        self.client, self.clicks = client, 0
        self._see(client.get(url))

    def _see(self, response: Any) -> None:
        assert response.status_code == 200
        self.url, self.screen = response.wsgi_request.get_full_path(), Screen(response)

    def follow(self, text: str) -> None:
        """Clicks a link."""
        self.clicks += 1
        self._see(self.client.get(self.screen.link(text), follow=True))

    def open(self, text: str) -> None:
        """Clicks what is folded."""
        assert text in self.screen.texts("summary")
        self.clicks += 1

    def type(self, **fields: str) -> None:
        """Types, after which fragment.js asks for what depends on it."""
        shown = self.screen.fields()
        assert fields.keys() <= shown.keys()
        self._see(self.client.post(self.url, shown | fields | {"_edit": "1"}))

    def press(self, text: str) -> None:
        """Presses a button."""
        button = self.screen.part("#content button", text)
        name = {button["name"]: button["value"]} if button.has("name") else {}
        self.clicks += 1
        self._see(self.client.post(self.url, self.screen.fields() | name, follow=True))


def test_period_is_scheduled_by_four_clicks_from_the_list(shop: Shop) -> None:
    shop.flag(KEY)
    person = Person(shop.client("ana"), FLAGS)
    person.follow(KEY)
    person.follow("Turn on…")
    person.open("Later…")
    person.type(_at=START, _until=END)
    person.press("until")
    assert WaitingAction.objects.count() == 2
    assert person.clicks == 4


def test_colleague_is_asked_by_three_clicks_from_the_flag(shop: Shop) -> None:
    person = Person(shop.client("ana"), f"{FLAGS}{shop.flag(KEY).pk}/change/")
    person.follow("Turn on…")
    person.open("Ask a colleague…")
    person.press("Request approval")
    assert WaitingAction.objects.get().state == "approval"
    assert person.clicks == 3


def test_action_is_approved_by_two_clicks_from_its_page(shop: Shop) -> None:
    shop.flag(KEY)
    shop.user("ana")
    waiting = ask(f"on {KEY} --request")
    person = Person(shop.client("ben"), f"/admin/flagstaff/waitingaction/{waiting.pk}/change/")
    person.follow("Approve…")
    person.press("Approve")
    assert state_of(waiting) == "waiting"
    assert person.clicks == 2
