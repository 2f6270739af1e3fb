"""A user, and an end of what the code of the pages leaves in the process."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User

from flagstaff import listeners


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
