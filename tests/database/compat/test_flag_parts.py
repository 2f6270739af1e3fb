"""What the admin of flags says about flags that waffle still evaluates."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from flagstaff import changes
from flagstaff.compat.models import WaffleRow
from flagstaff.models import FeatureFlag

pytestmark = pytest.mark.django_db

_TEXT = "Waffle evaluates it"


@pytest.fixture(autouse=True)
def _imported_flag() -> None:
    changes.create("checkout", enabled=True)
    WaffleRow.objects.create(kind="flag", name="old name", key="checkout")


def shown(client: Client) -> bool:
    return _TEXT in client.get(reverse("admin:flagstaff_featureflag_changelist")).content.decode()


@pytest.mark.parametrize(
    ("serve", "says"), [(False, True), (["checkout"], True), (["old*"], False), (True, False)]
)
def test_list_says_which_flags_waffle_evaluates(
    admin_client: Client, settings: Any, serve: object, says: bool
) -> None:
    settings.FLAGSTAFF = {"WAFFLE": {"SERVE": serve}}
    assert shown(admin_client) is says


def test_list_says_nothing_of_flags_that_do_not_come_from_waffle(admin_client: Client) -> None:
    WaffleRow.objects.all().delete()
    assert not shown(admin_client)


def test_page_that_confirms_a_kill_says_that_it_has_no_effect(
    admin_client: Client, settings: Any
) -> None:
    flag = FeatureFlag.objects.get()
    url = reverse("admin:flagstaff_featureflag_changelist") + f"{flag.pk}/kill/"
    assert "this change has no effect yet" in admin_client.get(url).content.decode()
    settings.FLAGSTAFF = {"WAFFLE": {"SERVE": True}}
    assert "this change has no effect yet" not in admin_client.get(url).content.decode()
