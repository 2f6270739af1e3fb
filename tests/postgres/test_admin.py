"""Flags in the admin: what an operator sees and does."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from flagstaff.admin import FeatureFlagAdmin
from flagstaff.admin.rollout import STEPS
from flagstaff.models import FeatureFlag
from tests.admin_pages import FLAGS, column, errors, page, permit, staff
from tests.conftest import RunIsolated

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(admin_client: Client) -> Client:
    return admin_client


@pytest.fixture
def viewer() -> Client:
    return staff("view_featureflag")


@pytest.fixture
def clerk() -> Client:
    """May change flags, and may not see the users."""
    return staff("change_featureflag")


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=25)


def make_flag(enabled: bool, rollout_percent: int, allowed: int = 0) -> FeatureFlag:
    flag = FeatureFlag.objects.create(
        key="a", enabled=enabled, rollout_percent=rollout_percent, description="What it is for."
    )
    flag.allowed_users.set(make_users(allowed))
    return flag


def make_users(count: int) -> list[User]:
    return User.objects.bulk_create([User(username=f"guest{n}") for n in range(count)])


def buttons(html: str) -> list[str]:
    """What the buttons of the list send, one after the other."""
    return re.findall(r'name="_switch" value="([^"]+)"', html)


def press(client: Client, button: str, address: str = FLAGS) -> Any:
    """The answer to a press of a list's button, which sends the list's form to where it stands."""
    return client.post(address, {"_switch": button, "action": ""}, follow=True)


def told(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def is_on(flag: FeatureFlag) -> bool:
    flag.refresh_from_db()
    return flag.enabled


def form(**changes: Any) -> dict[str, Any]:
    """What the page of a flag sends."""
    sent = {"key": "new_checkout", "rollout_percent": 25, "kind": "release", "description": ""}
    return {**sent, **changes}


# The list.


@pytest.mark.parametrize(
    ("flag", "word"),
    [
        ((False, 100, 1), "off"),
        ((True, 100, 1), "on for all"),
        ((True, 25, 1), "rollout 25 %"),
        ((True, 0, 1), "allowed users only"),
        ((True, 0, 0), "on for no users"),
    ],
    ids=str,
)
def test_list_says_the_state_of_a_flag_in_a_word(
    flag: tuple[bool, int, int], word: str, operator: Client
) -> None:
    make_flag(*flag)
    assert column(page(operator), "state") == [word]


def test_list_shows_what_a_flag_is_for_and_how_far_it_is(operator: Client) -> None:
    make_flag(True, 25, allowed=3)
    html = page(operator)
    assert column(html, "flag") == ["aWhat it is for."]
    assert (column(html, "rollout"), column(html, "allowed")) == (["25 %"], ["3"])
    assert column(html, "changed") == ["just now"]


def test_description_is_cut_short_in_the_list(operator: Client) -> None:
    FeatureFlag.objects.create(key="a", description="long " * 100)
    [shown] = column(page(operator), "flag")
    assert len(shown) == 101
    assert shown.endswith("…")


def test_key_is_never_markup(operator: Client) -> None:
    FeatureFlag.objects.create(key="<b>", description="<script>")
    html = page(operator)
    assert "&lt;script&gt;" in html
    assert "<b>" not in html


@pytest.mark.parametrize("words", ["checkout", "one page"])
def test_search_finds_keys_and_descriptions(words: str, operator: Client) -> None:
    FeatureFlag.objects.create(key="new_checkout", description="Everything on one page.")
    FeatureFlag.objects.create(key="banner")
    [found] = column(page(operator, f"{FLAGS}?q={words}"), "flag")
    assert found.startswith("new_checkout")


@pytest.mark.parametrize("wanted", ["enabled__exact=1", "kind__exact=ops"])
def test_filter_narrows_the_list(wanted: str, operator: Client) -> None:
    FeatureFlag.objects.create(key="wanted", enabled=True, kind="ops")
    FeatureFlag.objects.create(key="other")
    assert column(page(operator, f"{FLAGS}?{wanted}"), "flag") == ["wanted"]


def test_list_can_be_ordered_by_the_length_of_the_allow_list(operator: Client) -> None:
    for key, guests in (("a", 1), ("b", 0), ("c", 2)):
        FeatureFlag.objects.create(key=key).allowed_users.set(
            User.objects.create(username=f"{key}{n}") for n in range(guests)
        )
    assert column(page(operator, f"{FLAGS}?o=-5"), "flag") == ["c", "a", "b"]


def test_list_asks_the_database_no_more_for_many_flags_than_for_few(operator: Client) -> None:
    make_flag(True, 25, allowed=3)
    with CaptureQueriesContext(connection) as few:
        page(operator)
    FeatureFlag.objects.bulk_create([FeatureFlag(key=f"flag{n}") for n in range(50)])
    with CaptureQueriesContext(connection) as many:
        page(operator)
    assert len(many) == len(few) < 10


def test_flags_can_be_deleted_from_the_list(operator: Client, flag: FeatureFlag) -> None:
    chosen = {"action": "delete_selected", "_selected_action": flag.pk, "post": "yes"}
    operator.post(FLAGS, chosen)
    assert not FeatureFlag.objects.exists()


# The switch.


def test_button_turns_a_flag_off_and_on(operator: Client, flag: FeatureFlag) -> None:
    [button] = buttons(page(operator))
    assert told(press(operator, button)) == ["The flag “new_checkout” is off now."]
    assert not is_on(flag)
    [button] = buttons(page(operator))
    assert told(press(operator, button)) == ["The flag “new_checkout” is on now."]
    assert is_on(flag)


def test_button_changes_nothing_but_the_switch(operator: Client, flag: FeatureFlag) -> None:
    alice = User.objects.create(username="alice")
    flag.allowed_users.add(alice)
    changed_at = flag.changed_at
    press(operator, f"off:{flag.pk}")
    flag.refresh_from_db()
    assert (flag.rollout_percent, *flag.allowed_users.all()) == (25, alice)
    assert flag.changed_at > changed_at


def test_second_press_of_the_same_button_is_no_second_change(
    operator: Client, flag: FeatureFlag
) -> None:
    press(operator, f"off:{flag.pk}")
    flag.refresh_from_db()
    changed_at = flag.changed_at
    second = press(operator, f"off:{flag.pk}")
    assert told(second) == ["The flag “new_checkout” was off already."]
    assert not is_on(flag)
    assert flag.changed_at == changed_at
    assert LogEntry.objects.count() == 1


def test_button_is_written_into_the_log(operator: Client, flag: FeatureFlag) -> None:
    press(operator, f"off:{flag.pk}")
    entry = LogEntry.objects.get()
    assert (entry.user.get_username(), entry.object_id) == ("admin", str(flag.pk))
    assert entry.get_change_message() == "The flag “new_checkout” is off now."


def test_look_at_the_list_switches_nothing(operator: Client, flag: FeatureFlag) -> None:
    operator.get(FLAGS, {"_switch": f"off:{flag.pk}"})
    assert is_on(flag)


def test_press_from_another_site_is_refused(admin_user: User, flag: FeatureFlag) -> None:
    operator = Client(enforce_csrf_checks=True)
    operator.force_login(admin_user)
    assert operator.post(FLAGS, {"_switch": f"off:{flag.pk}"}).status_code == 403
    assert is_on(flag)


def test_list_gives_its_buttons_the_token_that_they_need(
    admin_user: User, flag: FeatureFlag
) -> None:
    operator = Client(enforce_csrf_checks=True)
    operator.force_login(admin_user)
    [form] = re.findall(r'<form id="changelist-form".*?</form>', page(operator), re.DOTALL)
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
    [button] = buttons(form)
    operator.post(FLAGS, {"_switch": button, "csrfmiddlewaretoken": token})
    assert not is_on(flag)


@pytest.mark.parametrize("query", ["", "?q=flag&enabled__exact=1&o=-1&p=2"])
def test_press_stays_where_the_operator_is(query: str, operator: Client) -> None:
    FeatureFlag.objects.bulk_create([FeatureFlag(key=f"flag{n}", enabled=True) for n in range(102)])
    before = page(operator, FLAGS + query)
    button, *_others = buttons(before)
    response = press(operator, button, FLAGS + query)
    assert response.redirect_chain == [(FLAGS + query, 302)]
    assert response.status_code == 200
    # Below, "enabled" filters out the one that was switched off.
    assert len(buttons(response.content.decode())) == len(buttons(before)) - bool(query)


@pytest.mark.parametrize("asked", ["off:0", "off:", "off:x", "off:9" + "9" * 30, "off:\x00"])
def test_press_for_a_flag_that_is_gone_says_so(
    asked: str, operator: Client, flag: FeatureFlag
) -> None:
    assert told(press(operator, asked)) == ["This flag is not there any more."]
    assert is_on(flag)


@pytest.mark.parametrize("word", ["", "OFF", "toggle"])
def test_press_with_another_word_changes_nothing(
    word: str, operator: Client, flag: FeatureFlag
) -> None:
    assert told(press(operator, f"{word}:{flag.pk}")) == ["This flag is not there any more."]
    assert is_on(flag)


def test_viewer_sees_the_list_without_a_button(viewer: Client, flag: FeatureFlag) -> None:
    html = page(viewer)
    assert column(html, "state") == ["rollout 25 %"]
    assert buttons(html) == column(html, "switch") == []


@pytest.mark.parametrize("asked", ["off:{}", "off:0", "toggle:{}"])
def test_press_of_a_viewer_is_refused(asked: str, viewer: Client, flag: FeatureFlag) -> None:
    assert press(viewer, asked.format(flag.pk)).status_code == 403
    assert is_on(flag)


def test_press_of_somebody_who_is_logged_out_leads_to_the_log_in(flag: FeatureFlag) -> None:
    response = press(Client(), f"off:{flag.pk}")
    assert response.redirect_chain[0][0].startswith("/admin/login/")
    assert is_on(flag)


# The page of a flag.


def test_page_has_a_button_for_each_step_of_a_ramp(operator: Client, flag: FeatureFlag) -> None:
    html = page(operator, f"{FLAGS}{flag.pk}/change/")
    [steps] = re.findall(r'data-flagstaff-steps="id_rollout_percent">.*?</span>', html, re.DOTALL)
    assert STEPS == (0, 1, 5, 25, 50, 100)
    assert re.findall(r'type="button"[^>]* value="(\d+)"', steps) == [str(step) for step in STEPS]
    assert 'src="/static/flagstaff/rollout.js"' in html


def test_page_saves_a_flag(operator: Client, flag: FeatureFlag) -> None:
    alice = User.objects.create(username="alice")
    sent = form(enabled="on", rollout_percent=50, allowed_users=[alice.pk])
    operator.post(f"{FLAGS}{flag.pk}/change/", sent)
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (True, 50)
    assert list(flag.allowed_users.all()) == [alice]


def test_page_adds_a_flag(operator: Client) -> None:
    assert "too many" not in page(operator, f"{FLAGS}add/")
    operator.post(f"{FLAGS}add/", form())
    assert FeatureFlag.objects.get().key == "new_checkout"


@pytest.mark.parametrize(
    ("percent", "message"),
    [
        ("101", "Ensure this value is less than or equal to 100."),
        ("-1", "Ensure this value is greater than or equal to 0."),
        ("2.5", "Enter a whole number."),
        ("", "This field is required."),
    ],
)
def test_percent_that_is_none_is_refused(percent: str, message: str, operator: Client) -> None:
    sent = form(rollout_percent=percent)
    assert errors(operator, f"{FLAGS}add/", sent) == {"rollout_percent": [message]}


def test_key_with_a_colon_is_refused(operator: Client) -> None:
    message = (
        'a key has a ":" at position 4; '
        'write letters, digits, "_", "-" or ".", such as "new_checkout"'
    )
    assert errors(operator, f"{FLAGS}add/", form(key="new:checkout")) == {"key": [message]}


def test_key_that_is_taken_is_refused(operator: Client, flag: FeatureFlag) -> None:
    message = "Feature flag with this Key already exists."
    assert errors(operator, f"{FLAGS}add/", form()) == {"key": [message]}


# The allow-list.


def test_allow_list_is_searched_where_users_can_be(operator: Client, flag: FeatureFlag) -> None:
    html = page(operator, f"{FLAGS}{flag.pk}/change/")
    assert 'class="admin-autocomplete"' in html
    assert "vManyToManyRawIdAdminField" not in html


def test_allow_list_takes_primary_keys_of_who_may_not_see_users(
    clerk: Client, flag: FeatureFlag
) -> None:
    guests = make_users(2)
    address = f"{FLAGS}{flag.pk}/change/"
    assert "vManyToManyRawIdAdminField" in page(clerk, address)
    clerk.post(address, form(allowed_users=",".join(str(guest.pk) for guest in guests)))
    assert set(flag.allowed_users.all()) == set(guests)


def test_allow_list_is_a_number_for_a_viewer_who_may_not_see_users(
    viewer: Client, flag: FeatureFlag
) -> None:
    flag.allowed_users.set([User.objects.create(username="eve")])
    address = f"{FLAGS}{flag.pk}/change/"
    html = page(viewer, address)
    assert "eve</" not in html
    assert re.search(r'field-allowed">.*?<div class="readonly">1</div>', html, re.DOTALL)
    permit(User.objects.get(username="staff"), "view_user")
    assert "eve</" in page(viewer, address)


def test_filter_by_a_user_is_for_those_who_may_see_users(viewer: Client, flag: FeatureFlag) -> None:
    query = f"{FLAGS}?allowed_users__id__exact=1"
    assert viewer.get(query).status_code == 400
    permit(User.objects.get(username="staff"), "view_user")
    assert viewer.get(query).status_code == 200


def test_allow_list_takes_primary_keys_where_users_have_no_admin(admin_user: User) -> None:
    request = RequestFactory().get("/")
    request.user = admin_user
    elsewhere = FeatureFlagAdmin(FeatureFlag, AdminSite())
    assert list(elsewhere.get_autocomplete_fields(request)) == []


def test_long_allow_list_is_counted_and_kept(operator: Client) -> None:
    flag = make_flag(True, 25, allowed=501)
    address = f"{FLAGS}{flag.pk}/change/"
    html = page(operator, address)
    assert "501 users. A list this long is changed in code: flag.allowed_users.add(…)" in html
    assert 'name="allowed_users"' not in html
    operator.post(address, form(rollout_percent=50))
    flag.refresh_from_db()
    assert (flag.rollout_percent, flag.allowed_users.count()) == (50, 501)


def test_allow_list_that_became_short_while_its_count_was_shown_is_kept(operator: Client) -> None:
    flag = make_flag(True, 25, allowed=501)
    address = f"{FLAGS}{flag.pk}/change/"
    assert 'name="_allowed_users_left_alone"' in page(operator, address)
    flag.allowed_users.remove(*flag.allowed_users.all()[:1])
    operator.post(address, form(rollout_percent=50, _allowed_users_left_alone="1"))
    flag.refresh_from_db()
    assert (flag.rollout_percent, flag.allowed_users.count()) == (50, 500)


def test_allow_list_that_fits_a_page_is_edited(operator: Client) -> None:
    flag = make_flag(True, 25, allowed=500)
    assert 'name="allowed_users"' in page(operator, f"{FLAGS}{flag.pk}/change/")


# Which models have an admin.

REGISTERED = """
import django, os
from django.conf import settings
settings.FLAGSTAFF = eval(os.environ["FLAGSTAFF"])
django.setup()
from django.contrib.admin import site
from flagstaff.models import FeatureFlag, KeyValueStore
print(site.is_registered(FeatureFlag), site.is_registered(KeyValueStore))
"""


@pytest.mark.parametrize(
    ("settings", "registered"),
    [
        ("{}", "True True"),
        ("{'FLAG_MODEL': 'auth.Group'}", "False True"),
        ("{'VALUE_MODEL': 'auth.Group'}", "True False"),
        # Wrong settings are the system check's to tell.
        ("{'FLAG_MODEL': 'nowhere.Flag'}", "True True"),
    ],
)
def test_model_that_is_replaced_has_no_admin(
    settings: str, registered: str, run_isolated: RunIsolated
) -> None:
    found = run_isolated(REGISTERED, FLAGSTAFF=settings, DJANGO_SETTINGS_MODULE="tests.settings")
    assert found.strip() == registered
