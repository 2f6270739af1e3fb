"""Where a save leads, and the message after it."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    confirmed,
    flag_url,
    form_data,
    messages_of,
    page,
    save_flag,
    staff,
    undo_urls,
)

pytestmark = pytest.mark.django_db

FIELDS = {
    FLAGS: {"rollout_percent": "0"},
}
MODELS: dict[str, Any] = {FLAGS: FeatureFlag}
EACH = pytest.mark.parametrize("models", list(MODELS))


def add(client: Client, models: str = FLAGS, **fields: Any) -> Any:
    """Adds a row with the key "new_search", and returns the page after it."""
    url = f"{models}add/"
    data = {**form_data(client.get(url)), **FIELDS[models], "key": "new_search", **fields}
    return client.post(url, data, follow=True)


def links_of(response: Any) -> list[str]:
    """Returns the texts of the links in the messages."""
    messages = " ".join(str(one.message) for one in response.context["messages"])
    return [unescape(text) for text in re.findall(r"<a [^>]*>(.*?)</a>", messages)]


@EACH
def test_new_row_opens_its_page_with_a_message_that_undoes_it(
    models: str, operator: Client
) -> None:
    response = add(operator, models)
    pk = MODELS[models].objects.get().pk
    assert response.redirect_chain == [(f"{models}{pk}/change/", 302)]
    [message] = messages_of(response)
    assert message.startswith("“new_search” was added.")
    [url] = undo_urls(response)
    operator.post(url, confirmed(operator.get(url)))
    assert not MODELS[models].objects.exists()


def test_message_after_a_new_flag_has_its_state_and_the_next_steps(operator: Client) -> None:
    response = add(operator)
    assert messages_of(response)[0].startswith("“new_search” was added. Off for all users.")
    assert links_of(response) == ["Turn on…", "Add users", "Plan a rollout", "Undo"]


def test_steps_are_those_that_the_user_may_take() -> None:
    client = staff("add_featureflag", "view_featureflag")
    assert links_of(add(client)) == []


def test_save_stays_on_the_page_of_the_flag(operator: Client, flag: FeatureFlag) -> None:
    response = save_flag(operator, flag, description="One page")
    assert response["Location"] == flag_url(flag)


@EACH
def test_forms_have_one_button_that_saves(models: str, operator: Client) -> None:
    add(operator, models)
    pk = MODELS[models].objects.get().pk
    for url in (f"{models}add/", f"{models}{pk}/change/"):
        html = page(operator, url)
        assert 'name="_save"' in html
        assert 'name="_addanother"' not in html


def test_flag_added_in_a_popup_leaves_no_message(operator: Client) -> None:
    response = add(operator, _popup="1")
    assert "data-popup-response" in response.content.decode()
    assert messages_of(operator.get(FLAGS)) == []
