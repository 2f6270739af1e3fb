"""Actions on a row run in the order of their times, and each stands on the one before it."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flagstaff import acting_as, changes
from flagstaff.models import Change, FeatureFlag, KeyValueStore, WaitingAction
from flagstaff.waiting.outlook import foresee
from tests.support.admin_pages import permit
from tests.support.plans import rollout
from tests.support.shop import STAFF, Shop
from tests.support.terminals import document, json_word, refused, run
from tests.support.waiting import ask, run_jobs

pytestmark = pytest.mark.usefixtures("plain_terminal")

KEY = "search_v2"
NINE, TEN, FIVE, NEXT_DAY = (
    f"{timezone.now() + timedelta(days=day):%Y-%m-%d}T{hour}:00"
    for day, hour in ((1, "09"), (1, "10"), (1, "17"), (2, "09"))
)


@pytest.fixture(autouse=True)
def flag(shop: Shop) -> FeatureFlag:
    shop.user("ben", is_superuser=True)
    permit(shop.user("ana", is_superuser=False), "change_featureflag", "change_keyvaluestore")
    return shop.flag(KEY, rollout_percent=5)


def at(line: str, time: str) -> WaitingAction:
    return ask(f"{line} --at {time}")


def pass_time(first: int = 1) -> list[str]:
    """Lets the times of the first open actions come, and returns what became of them."""
    states = []
    rows = WaitingAction.objects.filter(state="waiting").order_by("run_at", "id")
    for pk in [*rows.values_list("pk", flat=True)[:first]]:
        WaitingAction.objects.filter(pk=pk).update(run_at=Now())
        states += [report["state"] for report in run_jobs() if report["id"] == pk]
    return states


def obstacles() -> list[str]:
    return [action.obstacle for action in foresee(WaitingAction.objects.order_by("id"))]


def test_period_ends_as_it_was_asked_for() -> None:
    changes.flags.disable(KEY)
    at(f"on {KEY}", NINE)
    at(f"off {KEY}", FIVE)
    assert pass_time() == ["done"]
    assert FeatureFlag.objects.get().enabled
    assert pass_time() == ["done"]
    assert not FeatureFlag.objects.get().enabled


def test_three_rollouts_run_one_after_the_other() -> None:
    for percent, time in ((25, NINE), (50, TEN), (100, FIVE)):
        at(f"rollout {KEY} {percent}", time)
    assert pass_time(3) == ["done"] * 3
    assert rollout(KEY) == 100


def test_rules_that_name_a_segment_stand_on_the_rollout_before(shop: Shop) -> None:
    shop.segment("enterprise")
    at(f"rollout {KEY} 25", NINE)
    rules = [{"conditions": [{"segment": "enterprise"}]}]
    at(f"rules {KEY} {json_word(rules)}", TEN)
    assert pass_time(2) == ["done"] * 2


def test_users_are_allowed_before_and_after_a_rollout(shop: Shop) -> None:
    permit(shop.user("ana"), "change_featureflag", "view_user")
    for name in ("alice", "bob"):
        shop.user(name)
    for line, time in ((f"allow {KEY} alice", NINE), (f"rollout {KEY} 25", TEN)):
        at(line, time)
    at(f"allow {KEY} bob", FIVE)
    assert obstacles() == ["", "", ""]
    assert pass_time(3) == ["done"] * 3
    assert FeatureFlag.objects.get().allowed_users.count() == 2


def test_value_is_set_twice(shop: Shop) -> None:
    shop.value("page_size")
    at("value set page_size 30", NINE)
    at("value set page_size 40", FIVE)
    assert pass_time(2) == ["done"] * 2
    assert KeyValueStore.objects.get().value == 40


def test_off_runs_after_an_edit_that_decides_nothing_and_after_other_rollouts() -> None:
    at(f"off {KEY}", NINE)
    changes.flags.update(KEY, {"owner": "search", "tags": ["q3"]})
    changes.flags.set_rollout(KEY, 60)
    assert pass_time() == ["done"]
    assert not FeatureFlag.objects.get().enabled


def test_off_runs_late_and_on_expires() -> None:
    late = timedelta(minutes=61)
    for line in (f"off {KEY}", f"rollout {KEY} 50"):
        at(line, NINE)
        WaitingAction.objects.filter(state="waiting").update(run_at=Now() - late)
        run_jobs()
    assert [*WaitingAction.objects.order_by("id").values_list("state", flat=True)] == [
        "done",
        "expired",
    ]


@pytest.mark.parametrize("source", ["command", "planning"])
def test_late_off_does_not_run_after_a_person_has_turned_the_flag_on(source: str) -> None:
    waiting = at(f"off {KEY}", NINE)
    WaitingAction.objects.update(run_at=Now() - timedelta(days=2))
    changes.flags.disable(KEY)
    Change.objects.update(at=Now() - timedelta(days=3))
    with acting_as(User.objects.get(username="ana"), source=source):
        changes.flags.enable(KEY)
    run_jobs()
    waiting.refresh_from_db()
    assert (waiting.state, waiting.result[:26]) == ("failed", f"ana turned {KEY} on at")
    assert FeatureFlag.objects.get().enabled


def test_lower_rollout_never_raises() -> None:
    changes.flags.set_rollout(KEY, 50)
    waiting = at(f"rollout {KEY} 25", NINE)
    changes.flags.set_rollout(KEY, 10)
    assert pass_time() == ["done"]
    waiting.refresh_from_db()
    assert (rollout(KEY), waiting.result) == (10, f"nothing had to be changed; left out: {KEY}")


def test_lower_rollout_of_several_flags_raises_none_of_them(shop: Shop) -> None:
    keys = KEY, "dark_mode", "invoices"
    for key in keys[1:]:
        shop.flag(key, rollout_percent=50)
    changes.flags.set_rollout(KEY, 50)
    at(f"rollout {' '.join(keys)} 25", NINE)
    changes.flags.set_rollout(KEY, 10)
    assert pass_time() == ["done"]
    assert [rollout(key) for key in keys] == [10, 25, 25]


def test_off_leaves_out_a_row_that_is_gone(shop: Shop) -> None:
    shop.flag("dark_mode")
    waiting = at(f"off {KEY} dark_mode", NINE)
    changes.flags.delete("dark_mode")
    changes.flags.create("dark_mode", enabled=True)
    assert pass_time() == ["done"]
    waiting.refresh_from_db()
    assert "left out: dark_mode" in waiting.result
    assert FeatureFlag.objects.get(key="dark_mode").enabled


def test_action_that_was_killed_never_comes_back_to_life() -> None:
    at(f"rollout {KEY} 50", NINE)
    run(f"kill {KEY} --as ana")
    changes.flags.enable(KEY)
    assert f"ana turned {KEY} off at " in obstacles()[0]
    assert pass_time() == ["failed"]
    assert rollout(KEY) == 5


def test_creation_of_a_key_that_was_used_meanwhile_never_comes_back_to_life() -> None:
    permit(User.objects.get(username="ana"), "add_featureflag")
    at("create brand_new", NINE)
    assert obstacles() == [""]
    changes.flags.create("brand_new")
    changes.flags.delete("brand_new")
    assert obstacles() == ["brand_new was created and deleted meanwhile"]
    assert pass_time() == ["failed"]


def test_action_ends_when_the_one_before_it_is_cancelled() -> None:
    first = at(f"rollout {KEY} 25", NINE)
    at(f"rollout {KEY} 50", TEN)
    assert obstacles() == ["", ""]
    run(f"waiting cancel {first.pk}")
    assert obstacles()[1] == f"{first.pk} was to run before it: cancelled"
    assert [report["state"] for report in run_jobs()] == ["failed"]


def test_action_waits_for_the_one_before_it_that_was_not_approved() -> None:
    first = ask(f"rollout {KEY} 25 --at {NINE} --request")
    at(f"rollout {KEY} 50", TEN)
    WaitingAction.objects.update(run_at=Now())
    assert run_jobs() == []
    run(f"waiting approve {first.pk} --as ben")
    reports = run_jobs()
    assert [report["state"] for report in reports] == ["done", "done"], reports
    assert rollout(KEY) == 50


def test_action_in_front_of_others_ends_them_and_the_question_says_so() -> None:
    later = at(f"rollout {KEY} 50", TEN)
    printed = run(f"rollout {KEY} 20 --at {NINE} --as ana").err
    assert f"which then will not run: {KEY}: Roll out to 50 %" in printed
    front = WaitingAction.objects.latest("id")
    assert obstacles() == [f"{front.pk} runs before it, and changes what it stands on", ""]
    assert pass_time() == ["done"]
    later.refresh_from_db()
    assert f"ana changed rollout of {KEY} at " in obstacles()[0]


def test_action_that_could_not_run_ends_when_the_one_after_it_has_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or else the sale would begin after its end."""
    changes.flags.disable(KEY)
    on = at(f"on {KEY}", NINE)
    at(f"off {KEY}", TEN)
    WaitingAction.objects.filter(pk=on.pk).update(consequence=0)
    WaitingAction.objects.update(run_at=Now() - timedelta(minutes=1))
    with monkeypatch.context() as context:
        context.setattr("flagstaff.waiting.running.JOB_TIMEOUT", 0.0)
        assert [report["state"] for report in run_jobs()] == ["waiting", "done"]
    assert run_jobs() == []
    assert not FeatureFlag.objects.get().enabled


def test_period_has_one_question_and_one_cancellation() -> None:
    changes.flags.disable(KEY)
    shown = document("on", KEY, "--at", NINE, "--until", FIVE, "--as", "ana")
    begin, end = WaitingAction.objects.order_by("id")
    assert (begin.action, end.action, end.begun_by) == ("on", "off", begin.pk)
    assert shown["undo"] == ["waiting", "cancel", str(begin.pk)]
    printed = run(f"waiting cancel {end.pk}").err
    assert printed.count("cancelled") == 2
    assert {*WaitingAction.objects.values_list("state", flat=True)} == {"cancelled"}


def test_period_is_approved_once() -> None:
    changes.flags.disable(KEY)
    run(f"on {KEY} --at {NINE} --until {FIVE} --request --as ana")
    begin, _end = WaitingAction.objects.order_by("id")
    run(f"waiting approve {begin.pk} --as ben")
    assert pass_time(2) == ["done", "done"]
    assert not FeatureFlag.objects.get().enabled


def test_period_repeats_on_the_next_day() -> None:
    changes.flags.disable(KEY)
    run(f"on {KEY} --at {NINE} --until {FIVE} --as ana")
    at(f"on {KEY}", NEXT_DAY)
    assert pass_time(3) == ["done"] * 3
    assert FeatureFlag.objects.get().enabled


@pytest.mark.parametrize("options", [f"--until {FIVE}", f"--at {FIVE} --until {NINE}"])
def test_period_needs_a_begin_before_its_end(options: str) -> None:
    refused(f"on {KEY} {options} --as ana", 2, "a period begins at a time, and ends later")
    assert not WaitingAction.objects.exists()


def test_status_has_the_numbers_of_what_will_not_run_or_is_overdue(shop: Shop) -> None:
    shop.flag("dark_mode")
    stopped = ask(f"rollout {KEY} 50")
    overdue = ask("off dark_mode")
    ask("details dark_mode --owner ana")
    WaitingAction.objects.filter(pk=overdue.pk).update(run_at=Now() - timedelta(minutes=6))
    changes.flags.set_rollout(KEY, 6)
    states = {stopped.key: "will not run", overdue.key: "overdue"}
    assert document("status")["waiting"] == states
    line = f'{stopped.key} will not run; {overdue.key} overdue; "manage.py flags waiting list"'
    assert line in run("status").out


def test_rights_are_asked_in_a_constant_number_of_queries(
    shop: Shop, django_assert_max_num_queries: object
) -> None:
    for number in range(12):
        key = f"flag_{number}"
        shop.flag(key, rollout_percent=5)
        permit(shop.user(f"user_{number}", is_superuser=False), "change_featureflag")
        ask(f"rollout {key} 50", actor=f"user_{number}")
    actions = [*WaitingAction.objects.all()]
    User.objects.filter(username="user_3").update(is_active=False)
    with django_assert_max_num_queries(6):  # type: ignore[operator]
        assert [bool(action.obstacle) for action in foresee(actions)].count(True) == 1


def test_keys_of_creations_are_read_in_a_constant_number_of_queries(shop: Shop) -> None:
    permit(User.objects.get(username="ana"), "add_featureflag", "add_segment")
    # A segment may have the key of a flag.
    ask(f"segment create {KEY} {json_word([STAFF])}")
    counts = []
    for number in range(4):
        ask(f"create new_{number}")
        with CaptureQueriesContext(connection) as queries:
            assert obstacles() == [""] * (number + 2)
        counts.append(len(queries))
    assert counts == counts[:1] * 4


# A flag whose off is the dangerous state.


def test_off_of_a_reverse_flag_gives_but_a_kill_never_waits(shop: Shop, settings: object) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "APPROVAL": "most"}  # type: ignore[attr-defined]
    shop.flag("card_check", rollout_percent=100, tags=["reverse"])
    waiting = at("off card_check", NINE)
    assert (waiting.takes_away, waiting.state) == (False, "approval")
    assert run("kill card_check --no-wait").status == 0
    assert not FeatureFlag.objects.get(key="card_check").enabled
    assert "turned card_check off at" in obstacles()[0]


def test_off_does_not_run_after_the_flag_was_marked_as_reverse() -> None:
    at(f"off {KEY}", NINE)
    changes.flags.update(KEY, {"tags": ["reverse"]})
    assert obstacles() == [f"users would gain {KEY} by it now"]
    assert pass_time() == ["failed"]
