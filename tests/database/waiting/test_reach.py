"""What waits for a segment needs the right for each flag that uses it: to ask, approve and run."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User

from flagstaff import changes
from flagstaff.admin import FeatureFlagAdmin
from flagstaff.models import FeatureFlag, WaitingAction
from flagstaff.waiting.outlook import foresee
from tests.support.admin_pages import permit
from tests.support.conditions import needs
from tests.support.shop import STAFF, Shop
from tests.support.terminals import json_word, refused, run
from tests.support.waiting import TOMORROW, ask, make_due, run_jobs

pytestmark = pytest.mark.usefixtures("plain_terminal")

LINE = f"segment conditions enterprise {json_word([{**STAFF, 'negate': True}])}"
USE = [{"conditions": [{"segment": "enterprise"}]}]


@pytest.fixture(autouse=True)
def people(shop: Shop) -> None:
    """Ana may change all; ben segments only. Nothing uses the segment yet."""
    permit(shop.user("ana", is_superuser=False), "change_segment", "change_featureflag")
    permit(shop.user("ben", is_superuser=False), "change_segment")
    shop.segment("enterprise")
    shop.flag("search_v2", rollout_percent=0)


def test_user_who_may_not_toggle_the_flag_of_another_team_cannot_ask() -> None:
    changes.flags.update("search_v2", {"rules": USE})
    refused(f"{LINE} --as ben --at {TOMORROW}", 4, "lacks the right to change all that uses")


def test_user_who_may_not_toggle_the_flag_of_another_team_cannot_approve() -> None:
    changes.flags.update("search_v2", {"rules": USE})
    waiting = ask(f"{LINE} --request")
    ran = run(f"waiting approve {waiting.pk} --as ben")
    assert "user ben lacks the right to change all that uses enterprise" in ran.err


def test_flag_that_begins_to_use_the_segment_ends_what_waits_without_its_name() -> None:
    ask(LINE, actor="ben")
    changes.flags.update("search_v2", {"rules": USE})
    [waiting] = foresee(WaitingAction.objects.all())
    assert waiting.obstacle == "what depends on it, or what it depends on, has changed"
    make_due()
    run_jobs()
    assert str(WaitingAction.objects.get().result) == waiting.obstacle


def test_right_that_is_lost_before_the_run_is_asked_again() -> None:
    changes.flags.update("search_v2", {"rules": USE})
    ask(LINE)
    User.objects.get(username="ana").user_permissions.clear()
    make_due()
    assert run_jobs()[0]["state"] == "failed"
    assert "user ana lacks the right to change" in str(WaitingAction.objects.get().result)


def test_own_admin_of_the_flags_that_a_segment_reaches_is_a_no(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class TeamAdmin(FeatureFlagAdmin):
        def has_toggle_permission(self, request: Any, obj: Any = None) -> bool:
            return True

    TeamAdmin.has_toggle_permission.__module__ = "shop.admin"
    registry: dict[Any, Any] = admin.site._registry
    monkeypatch.setitem(registry, FeatureFlag, TeamAdmin(FeatureFlag, admin.site))
    waiting = ask(LINE)
    run(f"waiting cancel {waiting.pk}")
    changes.flags.update("search_v2", {"rules": USE})
    refused(f"{LINE} --as ana --at {TOMORROW}", 4, "TeamAdmin decides about rights")


ON = "rollout new_checkout 80"


def test_rollout_of_a_needed_flag_needs_the_right_for_what_depends_on_it(shop: Shop) -> None:
    permit(shop.user("ben"), "toggle_featureflag")
    shop.flag("new_checkout")
    shop.value("page_size", rules=[{**needs("new_checkout")[0], "value": 50}])
    refused(f"{ON} --as ben --at {TOMORROW}", 4, "lacks the right to toggle all that uses")
    # A brake does not.
    assert run(f"rollout new_checkout 0 --as ben --at {TOMORROW}").status == 0


def test_rule_that_names_the_flag_meanwhile_ends_what_waits_and_gives(shop: Shop) -> None:
    shop.flag("new_checkout")
    gives, takes = ask(ON), ask("off new_checkout")
    changes.flags.update("search_v2", rules=needs("new_checkout"))
    obstacles = {row.pk: row.obstacle for row in foresee(WaitingAction.objects.all())}
    assert obstacles[gives.pk] == "what depends on it, or what it depends on, has changed"
    assert not obstacles[takes.pk]
