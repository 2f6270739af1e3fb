"""What the page and the list of flags show of rollout plans."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from flagstaff import _extensions, rollouts
from flagstaff.admin import optional_parts
from flagstaff.cleanup import periods
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.admin.flag_parts import flag_panel
from flagstaff.rollouts.clock import ClockTimestamp
from flagstaff.rollouts.models import Plan, State
from tests.support.admin_pages import FLAGS, column, page, staff
from tests.support.plan_pages import INLINE, PLANS, plan_url, text_of
from tests.support.rollouts import KEY, drive_recently, make_flag, plan_of

pytestmark = pytest.mark.django_db

STEPS = ["5:4h", "25:1d", "100"]


@pytest.fixture(autouse=True)
def driver(db: None) -> None:
    drive_recently()


@pytest.fixture
def flag() -> FeatureFlag:
    return make_flag()


def flag_url(flag: FeatureFlag) -> str:
    return f"{FLAGS}{flag.pk}/change/"


def count_queries(client: Client, url: str) -> int:
    page(client, url)  # The first page may fill Django's caches, such as that of content types.
    with CaptureQueriesContext(connection) as queries:
        page(client, url)
    # Savepoints are needed in the transaction of a test only.
    return sum("SAVEPOINT" not in query["sql"] for query in queries)


def apps_without_plans() -> tuple[_extensions.OptionalApp, ...]:
    return tuple(app for app in _extensions.optional_apps() if app.label != "flagstaff_rollouts")


def leave_unguarded() -> None:
    Plan.objects.update(guarded_until=ClockTimestamp() - timedelta(minutes=1))


# The list.


def test_list_shows_the_plan_beside_the_state(operator: Client, flag: FeatureFlag) -> None:
    rollouts.create(KEY, STEPS)
    assert column(page(operator), "state") == ["on for no users plan: pending"]
    rollouts.start(KEY)
    assert column(page(operator), "state") == ["rollout 5 % plan: 5 %, running"]
    leave_unguarded()
    assert column(page(operator), "state") == ["rollout 5 % plan: 5 %, running unguarded"]


def test_list_shows_no_plan_that_has_ended(operator: Client, flag: FeatureFlag) -> None:
    rollouts.start(KEY, STEPS)
    rollouts.rollback(KEY)
    assert column(page(operator), "state") == ["on for no users"]


def test_list_makes_one_query_for_all_plans(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        make_flag(f"f{number}")
        rollouts.start(f"f{number}", STEPS)
    with_plans = count_queries(operator, FLAGS)
    for module in (optional_parts, periods):
        monkeypatch.setattr(module, "optional_apps", apps_without_plans)
    assert count_queries(operator, FLAGS) == with_plans - 1


# The page.


def test_page_shows_chart_state_and_link(operator: Client, flag: FeatureFlag) -> None:
    plan = rollouts.start(KEY, STEPS)
    html = page(operator, flag_url(flag))
    assert 'aria-labelledby="flagstaff-steps-title flagstaff-steps-desc"' in html
    assert f'<a href="{plan_url(plan)}">Open the plan</a>' in html
    assert "Another change of this flag pauses the plan." in html
    assert "Step 1 of 3, 5 %, until " in text_of(html)
    assert "?flag=" not in html
    assert "flagstaff/rollouts.css" in html
    panel = html.partition('<div class="flagstaff-panel">')[2].partition("</div>")[0]
    assert "<svg" in panel
    assert INLINE.findall(panel) == []


def test_page_without_a_plan_offers_one(operator: Client, flag: FeatureFlag) -> None:
    html = page(operator, flag_url(flag))
    assert f'<a href="{PLANS}add/?flag={KEY}">Plan a rollout</a>' in html


def test_page_after_a_plan_shows_it_and_offers_another(operator: Client, flag: FeatureFlag) -> None:
    rollouts.start(KEY, STEPS)
    plan = rollouts.rollback(KEY)
    html = page(operator, flag_url(flag))
    assert "Step 1 of 3, 5 % — rolled back by a person" in html
    assert plan_url(plan) in html
    assert "Plan a rollout" in html


def test_page_prefers_the_active_plan(operator: Client, flag: FeatureFlag) -> None:
    active = rollouts.start(KEY, STEPS)
    Plan.objects.create(
        flag_pk=str(flag.pk), key=KEY, state=State.DONE, steps=plan_of().steps, step=2
    )
    assert plan_url(active) in page(operator, flag_url(flag))


def test_page_warns_of_unguarded_plan(operator: Client, flag: FeatureFlag) -> None:
    rollouts.start(KEY, STEPS)
    leave_unguarded()
    assert "flagstaff-tripped" in page(operator, flag_url(flag))


def test_page_makes_one_query_for_the_plan(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollouts.start(KEY, STEPS)
    with_plan = count_queries(operator, flag_url(flag))
    for module in (optional_parts, periods):
        monkeypatch.setattr(module, "optional_apps", apps_without_plans)
    assert count_queries(operator, flag_url(flag)) == with_plan - 1


def test_page_for_a_viewer_has_no_link_to_a_form(flag: FeatureFlag) -> None:
    viewer = staff("view_featureflag")
    html = page(viewer, flag_url(flag))
    assert "There is no rollout plan." in html
    assert "Plan a rollout" not in html


def test_panel_of_a_site_without_plans_has_no_link(
    rf: RequestFactory, admin_user: User, flag: FeatureFlag
) -> None:
    rollouts.start(KEY, STEPS)
    request = rf.get("/")
    request.user = admin_user
    panel = flag_panel(AdminSite("without plans"), request, flag)
    assert "Step 1 of 3" in panel
    assert "<a " not in panel


def test_form_of_a_new_flag_has_no_panel(operator: Client) -> None:
    assert "rollout plan" not in page(operator, f"{FLAGS}add/").partition('id="content"')[2].lower()


def test_app_without_a_panel_adds_nothing(operator: Client, flag: FeatureFlag) -> None:
    app = _extensions.OptionalApp()
    assert (app.flag_panel(admin.site, None, flag), app.flag_notes([flag])) == ("", {})  # type: ignore[arg-type]
