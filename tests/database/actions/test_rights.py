"""Who may do what to a row, without a page."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import User

from flagstaff.actions.rights import Right, may
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.admin_pages import permit
from tests.support.terminals import run

pytestmark = pytest.mark.django_db

RIGHTS: tuple[Right, ...] = ("view", "toggle", "change", "add", "delete")


class OwnerBackend(BaseBackend):
    """Permits everything with the rows of the user's team."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return obj is not None and obj.owner == user_obj.username


@pytest.fixture
def user() -> User:
    return User.objects.create_user("us", is_staff=True)


@pytest.mark.parametrize(
    ("permission", "rights"),
    [
        ("", ()),
        ("view_featureflag", ("view",)),
        ("toggle_featureflag", ("view", "toggle")),
        ("change_featureflag", ("view", "toggle", "change")),
        ("add_featureflag", ("add",)),
        ("delete_featureflag", ("delete",)),
        ("change_keyvaluestore", ()),
    ],
)
def test_right_follows_the_permissions(
    permission: str, rights: tuple[Right, ...], user: User
) -> None:
    permit(user, *filter(None, [permission]))
    for row in (FeatureFlag, FeatureFlag(key="new_checkout")):
        assert tuple(one for one in RIGHTS if may(user, one, row)) == rights


def test_right_follows_the_permission_for_a_single_row(user: User, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.OwnerBackend"]
    assert not any(may(user, one, FeatureFlag) for one in RIGHTS)
    assert not any(may(user, one, FeatureFlag(owner="them")) for one in RIGHTS)
    assert all(may(user, one, FeatureFlag(owner="us")) for one in RIGHTS)


def test_read_only_leaves_the_right_to_view(admin_user: User, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    assert [one for one in RIGHTS if may(admin_user, one, KeyValueStore)] == ["view"]


@pytest.mark.usefixtures("open_shop", "plain_terminal")
def test_terminal_kills_a_flag_with_read_only(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    run("kill new_checkout")
    assert FeatureFlag.objects.get(key="new_checkout").enabled is False
