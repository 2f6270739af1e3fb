"""A user, what the pages declare, and an end of what their code leaves in the process."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User

from flagstaff import listeners
from flagstaff._declared import DECLARED, publish
from tests.support.pages import ShopFlags


@pytest.fixture(autouse=True)
def _declared_by_pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets pages import declarations, and forgets what they declare."""
    monkeypatch.setitem(sys.modules, "shop.flags", ShopFlags("shop.flags"))
    before = dict(DECLARED)
    yield
    DECLARED.clear()
    DECLARED.update(before)
    publish()


@pytest.fixture(autouse=True)
def _without_listeners_of_pages() -> Iterator[None]:
    """Removes the listeners that a page has added: other files test that there are none."""
    before = [*listeners._added]
    yield
    if listeners._added != before:
        listeners._added[:] = before
        listeners._set()


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create(username="alice")
