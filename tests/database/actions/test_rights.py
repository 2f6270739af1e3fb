"""Who may do what to a row, without a page."""

from typing import Any

import pytest
from django.contrib.auth.backends import BaseBackend

from flagstaff.actions.table import Right, user_may
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.admin_pages import permit
from tests.support.shop import Shop
from tests.support.terminals import run

RIGHTS: tuple[Right, ...] = ("view", "toggle", "change", "add", "delete")


class OwnerBackend(BaseBackend):
    """Permits everything with the rows of the user's team."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return obj is not None and obj.owner == user_obj.username


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
    permission: str, rights: tuple[Right, ...], shop: Shop
) -> None:
    user = shop.user("bob")
    permit(user, *filter(None, [permission]))
    for row in (FeatureFlag, FeatureFlag(key="new_checkout")):
        assert tuple(right for right in RIGHTS if user_may(user, right, row)) == rights


def test_right_follows_the_permission_for_a_single_row(shop: Shop, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.OwnerBackend"]
    bob = shop.user("bob")
    assert not any(user_may(bob, right, FeatureFlag) for right in RIGHTS)
    assert not any(user_may(bob, right, FeatureFlag(owner="alice")) for right in RIGHTS)
    assert all(user_may(bob, right, FeatureFlag(owner="bob")) for right in RIGHTS)


@pytest.mark.usefixtures("plain_terminal")
def test_read_only_leaves_the_right_to_view_and_the_kill_in_a_terminal(
    shop: Shop, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    assert [right for right in RIGHTS if user_may(shop.user("ana"), right, KeyValueStore)] == [
        "view"
    ]
    shop.flag()
    run("kill new_checkout")
    assert shop.flag().enabled is False
