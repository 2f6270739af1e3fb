"""A browser and a service, with the settings of the protocol."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.support.ofrep import BEARER, KEYS

Configure = Callable[..., None]


@pytest.fixture(autouse=True)
def configure(settings: Any) -> Configure:
    """Returns a function that sets further settings of OFREP. One key is known before."""
    settings.ROOT_URLCONF = "tests.support.ofrep"

    def set_entries(**entries: object) -> None:
        named = {f"OFREP_{name}": value for name, value in entries.items()}
        settings.FLAGSTAFF = {**settings.FLAGSTAFF, **KEYS, **named}

    set_entries()
    return set_entries


@pytest.fixture
def browser() -> Client:
    """A browser whose requests have no token against forgery."""
    return Client(enforce_csrf_checks=True)


@pytest.fixture
def service() -> Client:
    return Client(enforce_csrf_checks=True, headers=BEARER)
