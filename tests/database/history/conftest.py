"""What the tests of the history start with."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from flagstaff.models import Change


@pytest.fixture
def empty_history(transactional_db: None) -> None:
    """Deletes what other tests have left: flushing the tables between tests keeps the history."""
    Change.objects.all().delete()


@pytest.fixture
def alice(transactional_db: None) -> User:
    """A user who may do everything."""
    return User.objects.create(username="alice", is_staff=True, is_superuser=True)


@pytest.fixture
def bob(transactional_db: None) -> User:
    """A user without permissions."""
    return User.objects.create(username="bob")
