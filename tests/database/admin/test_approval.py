"""APPROVAL: pages store an action for a second user, and do not write it."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import changes
from flagstaff.models import FeatureFlag, KeyValueStore, WaitingAction
from tests.support.admin_pages import act, flag_url, message_links, page, state, undo_at, undo_url
from tests.support.shop import Shop
from tests.support.terminals import run
from tests.support.waiting import run_jobs

NO_STAFF = {"attribute": "is_staff", "operator": "in", "values": [False]}

# An undo reads the history.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def pay(settings: Any) -> FeatureFlag:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "APPROVAL": "most"}
    User.objects.create_superuser("bob")
    return FeatureFlag.objects.create(key="pay", enabled=True, rollout_percent=5)


def test_page_requests_an_approval_and_writes_nothing(operator: Client, pay: FeatureFlag) -> None:
    shown = operator.get(flag_url(pay, "release")).content.decode()
    assert "Another user has to approve this before it is done." in shown
    assert "Request approval" in shown
    response = act(operator, flag_url(pay, "release"))
    waiting = WaitingAction.objects.get()
    urls = [url for _text, url in message_links(response)]
    assert f"/admin/flagstaff/waitingaction/{waiting.pk}/change/" in urls
    assert state(pay) == (True, 5)
    run(f"waiting approve {waiting.pk} --as bob")
    assert run_jobs()[0]["state"] == "done"
    assert state(pay) == (True, 100)


def test_undo_that_gives_users_something_is_refused(operator: Client, pay: FeatureFlag) -> None:
    changes.flags.set_rollout("pay", 100)
    changed = changes.flags.disable("pay")
    response = undo_at(operator, undo_url(changed.version))
    assert "this needs an approval, and undo cannot wait" in response.content.decode()
    assert state(pay) == (False, 100)


def test_undo_of_a_release_needs_no_approval(operator: Client, pay: FeatureFlag) -> None:
    changed = changes.flags.set_rollout("pay", 100)
    assert "Later…" not in page(operator, undo_url(changed.version))
    undo_at(operator, undo_url(changed.version))
    assert state(pay) == (True, 5)


def test_secret_value_needs_no_approval(operator: Client, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "APPROVAL": "always"}
    value = KeyValueStore.objects.create(key="password", value="old", secret=True)
    url = f"/admin/flagstaff/keyvaluestore/{value.pk}/set/"
    assert "Request approval" not in page(operator, url)


def test_change_that_the_user_may_not_count_needs_an_approval(pay: FeatureFlag, shop: Shop) -> None:
    """By its fields it reaches less than half of the users, and with its rule most of them."""
    changes.flags.update("pay", {"rules": [{"conditions": [NO_STAFF]}]})
    User.objects.bulk_create(
        User(pk=10**6 + number, username=f"u{number}", is_staff=number < 30) for number in range(90)
    )
    url = f"{flag_url(pay, 'rollout')}?percent=45"
    for permissions in (["view_user"], []):
        client = shop.client(f"eva {permissions}", "change_featureflag", *permissions)
        assert "Request approval" in page(client, url)
