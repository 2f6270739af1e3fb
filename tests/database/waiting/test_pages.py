"""The pages of actions that wait: ask for a time, see what waits, and decide."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import changes
from flagstaff.admin import question
from flagstaff.changes.consequence import Consequence
from flagstaff.models import FeatureFlag, KeyValueStore, WaitingAction
from flagstaff.waiting.stored import COLUMNS, State, records_of
from flagstaff.waiting.times import future_time
from tests.support.admin_pages import act, flag_url, message_links, messages_of, page, staff, state
from tests.support.screen import Screen
from tests.support.terminals import run
from tests.support.waiting import TOMORROW, ask, make_due, run_jobs

LIST = "/admin/flagstaff/waitingaction/"
OVERVIEW = "/admin/flagstaff/featureflag/overview/"

# An action that waits compares the versions of the history.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def pay(operator: Client) -> FeatureFlag:
    for name in ("ana", "bob"):
        User.objects.create_superuser(name)
    return FeatureFlag.objects.create(key="pay", enabled=True, rollout_percent=5)


@pytest.fixture
def bob() -> Client:
    client = Client()
    client.force_login(User.objects.get(username="bob"))
    return client


def url_of(waiting: WaitingAction, name: str = "change") -> str:
    return f"{LIST}{waiting.pk}/{name}/"


def test_time_on_the_page_of_an_action_stores_it_for_then(
    operator: Client, pay: FeatureFlag
) -> None:
    response = act(operator, flag_url(pay, "release"), _at=TOMORROW)
    waiting = WaitingAction.objects.get()
    assert (waiting.action, waiting.keys, waiting.state) == ("release", ["pay"], State.WAITING)
    [message] = messages_of(response)
    assert "Nothing is changed yet." in message
    assert url_of(waiting) in dict(message_links(response)).values()
    assert state(pay) == (True, 5)
    make_due()
    assert run_jobs()[0]["state"] == State.DONE
    assert state(pay) == (True, 100)


def test_request_of_a_page_is_refused_if_its_row_changes_afterwards(
    operator: Client, pay: FeatureFlag
) -> None:
    version = changes.flags.set_rollout("pay", 6).version
    act(operator, flag_url(pay, "release"), _at=TOMORROW)
    waiting = WaitingAction.objects.get()
    assert waiting.versions == {"pay": version}
    changes.flags.set_rollout("pay", 7)
    make_due()
    [report] = run_jobs()
    assert (report["state"], state(pay)) == (State.FAILED, (True, 7))
    assert report["result"].startswith("pay was changed after this was asked for: ")
    assert report["result"].endswith(": rollout 6 → 7 %")
    # From the page that says so one gets to the flag.
    assert f'href="{flag_url(pay)}"' in page(operator, url_of(waiting))


def test_request_for_many_flags_stores_the_version_of_each(
    operator: Client, pay: FeatureFlag
) -> None:
    ship = FeatureFlag.objects.create(key="a_ship", enabled=True)
    changes.flags.set_rollout("pay", 6)
    chosen = {"action": "release", "_selected_action": [pay.pk, ship.pk]}
    response: Any = operator.post("/admin/flagstaff/featureflag/", chosen)
    shown = Screen(response).fields()
    operator.post("/admin/flagstaff/featureflag/", shown | chosen | {"_at": TOMORROW})
    versions = {one.key: changes.flags.update(one.key, {}).version for one in (pay, ship)}
    assert WaitingAction.objects.get().versions == versions


def test_request_of_a_user_who_may_not_see_users_stores_the_counted_users(
    pay: FeatureFlag,
) -> None:
    rule = {"conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}]}
    changes.flags.update("pay", {"rules": [{**rule, "rollout_percent": 100}]})
    expected = ask("rollout pay 10")
    url = flag_url(pay, "rollout")
    act(staff("change_featureflag"), url, percent="10", _at=TOMORROW)
    waiting = WaitingAction.objects.latest("pk")
    # The job refuses what would reach more users than that.
    assert waiting.consequence == expected.consequence == Consequence.MORE
    assert "not counted" not in waiting.users


def test_later_without_a_time_writes_nothing(operator: Client, pay: FeatureFlag) -> None:
    url = flag_url(pay, "release")
    shown = Screen(page(operator, url)).fields()
    response: Any = operator.post(url, shown | {"_later": "1"})
    assert "expected a time such as" in response.content.decode()
    assert not WaitingAction.objects.exists()
    assert state(pay) == (True, 5)


def test_change_while_a_time_is_asked_for_is_a_conflict(
    operator: Client, pay: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed_meanwhile(text: str) -> Any:
        changes.flags.set_rollout("pay", 10)
        return future_time(text)

    url = flag_url(pay, "release")
    shown = Screen(page(operator, url)).fields()
    monkeypatch.setattr(question, "future_time", changed_meanwhile)
    response: Any = operator.post(url, shown | {"_at": TOMORROW})
    assert "“pay” has changed since the page was shown." in response.content.decode()
    assert not WaitingAction.objects.exists()


def test_time_beside_a_rollout_to_0_is_kept_and_nothing_is_done_before(
    operator: Client, pay: FeatureFlag
) -> None:
    url = f"{flag_url(pay, 'rollout')}?percent=0"
    operator.post(url, Screen(page(operator, url)).fields() | {"_at": TOMORROW})
    waiting = WaitingAction.objects.get()
    assert (waiting.state, waiting.arguments) == (State.WAITING, {"percent": 0})
    assert state(pay) == (True, 5)


def test_kill_and_secret_values_offer_no_time(operator: Client, pay: FeatureFlag) -> None:
    secret = KeyValueStore.objects.create(key="password", value="old", secret=True)
    assert "Later…" in page(operator, flag_url(pay, "release"))
    assert "Later…" not in page(operator, flag_url(pay, "kill"))
    assert "Later…" not in page(operator, f"/admin/flagstaff/keyvaluestore/{secret.pk}/set/")


def test_row_and_overview_say_what_waits(operator: Client, pay: FeatureFlag) -> None:
    waiting = ask("rollout pay 50 --request")
    for url in (flag_url(pay), OVERVIEW):
        shown = page(operator, url)
        assert url_of(waiting) in shown
        assert "pay: Roll out to 50 %" in shown
        assert "waits for approval, asked by ana" in shown


def test_failed_action_is_on_the_overview_and_on_its_row_until_it_is_cancelled(
    bob: Client, pay: FeatureFlag
) -> None:
    waiting = ask("rollout pay 50")
    changes.flags.set_rollout("pay", 6)
    make_due()
    run_jobs()
    waiting.refresh_from_db()
    assert waiting.result in page(bob, OVERVIEW)
    assert waiting.result in Screen(page(bob, flag_url(pay))).part(".flagstaff-alarm").text
    act(bob, url_of(waiting, "cancel"))
    waiting.refresh_from_db()
    assert waiting.state == State.CANCELLED
    for url in (OVERVIEW, flag_url(pay)):
        assert url_of(waiting) not in page(bob, url)


def test_action_that_is_due_for_six_minutes_needs_attention(bob: Client, pay: FeatureFlag) -> None:
    waiting = ask("rollout pay 50")
    make_due(minutes=6)
    waiting.refresh_from_db()
    for url in (LIST, OVERVIEW, flag_url(pay), url_of(waiting)):
        assert re.search(r"due since [^:]+:[^:]+:[^:]+: no run-jobs has run it", page(bob, url))
    assert Screen(page(bob, LIST)).texts(".flagstaff-tripped") == ["overdue"]
    assert len(Screen(page(bob, flag_url(pay))).all(".flagstaff-alarm")) == 1
    [record] = records_of([waiting])
    cells = [one.for_terminal(record) for one in COLUMNS]
    assert (cells[1], cells[-1]) == ("overdue", "no run-jobs has run it")


def test_page_of_a_change_names_what_will_not_run_afterwards(
    operator: Client, pay: FeatureFlag
) -> None:
    waiting = ask("rollout pay 50")
    note = Screen(page(operator, flag_url(pay, "release"))).part("p", "this will not run: ")
    assert url_of(waiting) in note.attributes("a", "href")


def test_pages_of_a_decision_are_named_after_the_action(bob: Client) -> None:
    waiting = ask("rollout pay 50")
    for name in ("change", "cancel"):
        shown = page(bob, url_of(waiting, name))
        assert "<title>pay: Roll out to 50 %, " in " ".join(shown.split()).replace("> ", ">")
        assert f"&rsaquo; {waiting.pk}\n" not in shown
        assert f">{waiting.pk}</a>" not in shown
    response = act(bob, url_of(waiting, "cancel"))
    # Django would capitalise a key at the start.
    assert messages_of(response) == ["“pay: Roll out to 50 %”: cancelled."]


def test_another_user_approves_what_the_page_shows(bob: Client, pay: FeatureFlag) -> None:
    waiting = ask('rollout pay 50 --request --reason "tests are green"')
    shown = page(bob, url_of(waiting))
    assert "<h1>pay: Roll out to 50 %" in shown
    assert "tests are green" in shown
    assert "When asked: " in page(bob, url_of(waiting, "approve"))
    act(bob, url_of(waiting, "approve"))
    waiting.refresh_from_db()
    assert waiting.state == State.WAITING
    assert run_jobs()[0]["state"] == State.DONE
    assert state(pay) == (True, 50)


def test_user_who_asked_may_only_cancel(bob: Client, pay: FeatureFlag) -> None:
    waiting = ask("rollout pay 50 --request", actor="bob")
    shown = page(bob, url_of(waiting))
    assert "Another user has to approve it." in shown
    assert url_of(waiting, "approve") not in shown
    for name in ("approve", "refuse"):
        assert bob.get(url_of(waiting, name)).status_code == 403
    act(bob, url_of(waiting, "cancel"))
    waiting.refresh_from_db()
    assert waiting.state == State.CANCELLED


def test_user_without_the_right_only_reads(pay: FeatureFlag) -> None:
    viewer, waiting = staff("view_featureflag"), ask("rollout pay 50 --request")
    shown = page(viewer, url_of(waiting))
    for name in ("approve", "refuse", "cancel"):
        assert url_of(waiting, name) not in shown
        assert viewer.get(url_of(waiting, name)).status_code == 403
    # Names and small numbers of users need another permission.
    assert "When asked" not in shown


def test_action_of_rows_that_the_user_may_not_see_is_nowhere(pay: FeatureFlag) -> None:
    KeyValueStore.objects.create(key="size", value=1)
    waiting, viewer = ask("value set size 2"), staff("view_featureflag")
    for url in (LIST, OVERVIEW):
        assert "size" not in page(viewer, url)
    response: Any = viewer.get(url_of(waiting), follow=True)
    assert "exist" in " ".join(messages_of(response))


def test_approval_of_a_row_that_has_changed_is_refused(bob: Client, pay: FeatureFlag) -> None:
    waiting = ask("rollout pay 50 --request")
    changes.flags.set_rollout("pay", 6)
    shown = page(bob, url_of(waiting, "approve"))
    assert "pay changed after this was asked for" in shown
    bob.post(url_of(waiting, "approve"), {"_reason": ""})
    waiting.refresh_from_db()
    assert waiting.state == State.APPROVAL


def test_list_shows_the_state_and_filters_by_it(bob: Client) -> None:
    ask("rollout pay 50")
    run(f"waiting cancel {ask('release pay').pk} --as ana")
    assert "pay: Roll out to 50 %" in page(bob, LIST)
    shown = page(bob, f"{LIST}?state__exact=cancelled")
    assert "Release pay to everybody" in shown
    assert "Roll out to 50 %" not in shown
    assert "Release pay" in page(bob, f"{LIST}?q=pay")


def test_nobody_adds_or_deletes_one(bob: Client) -> None:
    waiting = ask("rollout pay 50")
    for url in (f"{LIST}add/", url_of(waiting, "delete")):
        assert bob.get(url).status_code == 403
    assert bob.get(url_of(waiting, "history")).status_code == 200
