"""What needs attention, and where a flag and its plan differ, on the pages of the admin."""

from __future__ import annotations

import re
from operator import le
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import acting_as, changes, rollouts
from flagstaff.history.kinds import Kind
from flagstaff.history.log import version_of
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import FailedUnit, Plan, State
from tests.support.admin_pages import (
    FLAGS,
    column,
    count_queries,
    flag_url,
    page,
    preview_of,
    restore_url,
)
from tests.support.plan_pages import PLANS, plan_url, table, text_of
from tests.support.rollouts import (
    KEY,
    RULES,
    end_dwell_time,
    fail,
    leave_unguarded,
    make_flag,
    plan_of,
    run_of,
    see,
)

pytestmark = pytest.mark.django_db

STEPS = ["25:4h", "100"]
TRIPPED = r"rolled back at 25 %: 20 of \d+ users failed"
SENTENCE = r"20 of \d+ users with the flag failed, none of \d+ without it\."


@pytest.fixture
def running(flag: FeatureFlag) -> Plan:
    return rollouts.start(KEY, STEPS)


def trip(key: str = KEY) -> None:
    see(run_of(key), inside=True, users=40)
    see(run_of(key), inside=False, users=100)
    fail(run_of(key), inside=True, users=20)
    run_plans()
    assert plan_of(key).state == State.ROLLED_BACK


def hold() -> None:
    end_dwell_time()
    run_plans()
    assert plan_of().state == State.HOLDING


def pause_by_a_change() -> None:
    changes.flags.set_rollout(KEY, 60)
    run_plans()
    assert plan_of().state == State.PAUSED


def chart_of(html: str) -> str:
    return html.partition('<svg class="flagstaff-chart"')[2].partition("</svg>")[0]


def red(html: str) -> list[str]:
    """What lists show in red."""
    found = re.findall(
        r'<(?:small class="flagstaff-alert"|span class="flagstaff-state flagstaff-attention")>'
        r"(.*?)</(?:small|span)>",
        html,
    )
    return [text_of(one) for one in found]


def alarms(html: str) -> list[str]:
    """What the head of the page of a flag shows in red."""
    found = re.findall(r'<p class="flagstaff-notice flagstaff-alarm">(.*?)</p>', html)
    return [text_of(one) for one in found]


# Until somebody acts.


@pytest.mark.parametrize(
    ("happens", "text"),
    [
        (trip, TRIPPED),
        (hold, "plan holds at 25 %"),
        (pause_by_a_change, "flag is at 60 %, plan paused at 25 %"),
        (leave_unguarded, "plan unguarded at 25 %"),
    ],
)
def test_plan_that_was_stopped_is_red_in_both_lists_and_on_the_page_of_its_flag(
    happens: Any, text: str, operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    urls = (FLAGS, PLANS)
    assert [red(page(operator, url)) for url in urls] == [[], []]
    happens()
    for shown in (
        *(red(page(operator, url)) for url in urls),
        alarms(page(operator, flag_url(flag))),
    ):
        assert len(shown) == 1
        assert re.fullmatch(text, shown[0])


def roll_back_as_ann(admin_user: User) -> None:
    ann = User.objects.create(username="ann")
    with acting_as(ann, reason="broken baskets"):
        rollouts.rollback(KEY)


def test_roll_back_by_a_person_is_a_quiet_note_until_the_flag_is_changed(
    operator: Client, admin_user: User, running: Plan, flag: FeatureFlag
) -> None:
    make_flag("other")
    roll_back_as_ann(admin_user)
    note = "rolled back by ann at 25 %, just now"
    assert note in column(page(operator, FLAGS), "flag")[0]
    html = page(operator, flag_url(flag))
    assert (note in text_of(html), alarms(html)) == (True, [])
    changes.flags.set_rollout(KEY, 3)
    for url in (FLAGS, flag_url(flag)):
        assert "rolled back by ann" not in text_of(page(operator, url))


def test_roll_back_is_no_note_after_the_next_plan(operator: Client, running: Plan) -> None:
    rollouts.rollback(KEY)
    make_flag("other")
    Plan.objects.create(
        flag_pk=running.flag_pk, key=KEY, state=State.DONE, steps=plan_of().steps, step=1
    )
    assert "rolled back" not in text_of(page(operator, FLAGS))


def test_roll_backs_of_several_flags_make_no_further_query(operator: Client, running: Plan) -> None:
    for key in ("other", "last"):
        make_flag(key)
        rollouts.start(key, STEPS)
    rollouts.rollback(KEY)
    one = count_queries(operator, FLAGS)
    rollouts.rollback("other")
    assert count_queries(operator, FLAGS) == one


def test_pages_say_once_who_rolled_back_when_and_from_which_step(
    operator: Client, admin_user: User, running: Plan, flag: FeatureFlag
) -> None:
    roll_back_as_ann(admin_user)
    sentence = r"By ann at step 1 of 2, 25 % · .+, \d\d:\d\d:\d\d UTC — broken baskets"
    for url, after in ((plan_url(running), "Flag new_checkout"), (flag_url(flag), "Open the plan")):
        shown = text_of(re.sub(r"<svg.*?</svg>", "", page(operator, url), flags=re.DOTALL))
        state = shown.partition("rolled back By")[2].partition(after)[0]
        assert re.match(sentence, f"By{state}"), state
        assert "rolled back" not in state
    assert "by ann — broken baskets" in column(page(operator, PLANS), "shown_state")[0]


def test_pages_name_the_guard_that_has_rolled_back(
    operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    trip()
    by_brake = r"By the brake at step 1 of 2, 25 % · .+, \d\d:\d\d:\d\d UTC"
    for url in (plan_url(running), flag_url(flag)):
        assert re.search(by_brake, text_of(page(operator, url)))
    counts = {"users_inside": 1234, "users_outside": 10}
    failed = {"name": "latency", "number": 1, "failed": {"inside": 9, "outside": 1}}
    figures = {"by_statistics": True, "trip": "latency", "guards": [failed], **counts}
    latency = [{"kind": "latency", "seconds": 0.5}]
    Plan.objects.update(trip_figures=figures, guards=latency)
    text = text_of(page(operator, plan_url(running)))
    assert "By the guard latency over 0.5 s at step 1 of 2" in text
    assert "9 of 1,234 users with the flag were slower, 1 of 10 without it." in text
    Plan.objects.update(trip_figures={}, trip_reason="shop.orders returned False")
    text = text_of(page(operator, plan_url(running)))
    assert "rolled back By a guard at step 1 of 2, 25 % ·" in text
    assert "UTC — shop.orders returned False" in text


def test_broken_plan_does_not_hide_the_others(operator: Client, running: Plan) -> None:
    make_flag("other")
    rollouts.start("other", STEPS)
    trip("other")
    Plan.objects.filter(key=KEY).update(steps="no list", state=State.HOLDING, reason_kind="held")
    assert len(red(page(operator, FLAGS))) == len(red(page(operator, PLANS))) == 2


def test_plans_that_need_attention_come_first(operator: Client, running: Plan) -> None:
    trip()
    for key in ("later", "last"):
        make_flag(key)
        rollouts.create(key, STEPS)
    keys = [one.split()[0] for one in column(page(operator, PLANS), "flag")]
    assert keys == [KEY, "last", "later"]
    changes.flags.set_rollout(KEY, 3)
    assert column(page(operator, PLANS), "flag") == ["last", "later", KEY]


def test_pages_of_flags_make_no_further_query_for_attention(
    operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    make_flag("other")
    urls = (FLAGS, flag_url(flag))
    trip()
    for url in urls:
        assert "rolled back at 25 %" in page(operator, url)
    with_attention = [count_queries(operator, url) for url in urls]
    # As if a person had rolled it back.
    Plan.objects.update(reason_kind="")
    assert all(map(le, with_attention, [count_queries(operator, url) for url in urls]))


# Where flag and plan differ.


def test_pages_say_where_flag_and_plan_are(
    operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    rollouts.pause(KEY)
    text = "flag is at 60 %, plan paused at 25 %"
    assert text not in text_of(page(operator, plan_url(running)))
    changes.flags.set_rollout(KEY, 60)
    for url in (PLANS, plan_url(running), FLAGS, flag_url(flag)):
        assert text in text_of(page(operator, url))
    changes.flags.disable(KEY)
    assert "flag is off, plan paused at 25 %" in text_of(page(operator, plan_url(running)))


def test_chart_draws_the_flag_and_the_plan_where_they_differ(
    operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    html = page(operator, plan_url(running))
    assert ("now: 25 %" in html, "flagstaff-flag-line" in html) == (True, False)
    rollouts.pause(KEY)
    changes.flags.set_rollout(KEY, 60)
    for url in (plan_url(running), flag_url(flag)):
        html = page(operator, url)
        assert ("plan: 25 %" in html, "flag: 60 %" in html, "now: 25 %" in html) == (
            True,
            True,
            False,
        )


def test_label_of_the_flag_is_below_the_columns_and_their_labels_are_above_its_line(
    operator: Client, running: Plan
) -> None:
    rollouts.pause(KEY)
    changes.flags.disable(KEY)
    chart = chart_of(page(operator, plan_url(running)))
    height = int(re.findall(r'height="(\d+)"', chart)[0])
    [label] = re.findall(r'flagstaff-flag-label" x="[^"]+" y="(\d+)"[^>]*>flag: off<', chart)
    assert 0 <= height - int(label) < 10
    times = [int(y) for y in re.findall(r'flagstaff-quiet" x="[^"]+" y="(\d+)"', chart)]
    assert max(times) + 10 < int(label)
    assert chart.index("flagstaff-flag-line") < chart.index("flagstaff-quiet")


# After a trip.


@pytest.mark.parametrize("guard", ["errors", "latency=0.5"])
def test_trip_of_the_brake_is_said_in_one_sentence(
    guard: str, operator: Client, flag: FeatureFlag
) -> None:
    plan = rollouts.start(KEY, STEPS, guards=[guard])
    trip()
    for url in (plan_url(plan), flag_url(flag)):
        assert re.search(SENTENCE, text_of(page(operator, url)))


def test_figures_at_the_trip_are_apart_from_those_since_then(
    operator: Client, running: Plan
) -> None:
    run_id = run_of()
    trip()
    for number, is_inside in ((500, True), (501, True), (502, False)):
        FailedUnit.objects.create(run_id=run_id, guard=0, inside=is_inside, unit=number)
    html = page(operator, plan_url(running))
    name, inside, outside, _ratio, _result = table(html, ">Guards<")[0]
    assert "Counted since then: 2 more with the flag, 1 more without it." in name
    assert re.search(r"· 20 of (39|40|41) users", inside)
    assert re.search(r"0 % · 0 of \d+ users", outside)
    # The verdict on all counts would contradict the sentence.
    assert "22 of" not in text_of(html.partition("Figures at")[0])


def test_words_of_the_statistics_are_only_in_the_fold(operator: Client, running: Plan) -> None:
    see(run_of(), inside=True, users=40)
    see(run_of(), inside=False, users=100)
    fail(run_of(), inside=True, users=3)
    html = page(operator, plan_url(running))
    [content] = re.findall(r'<div id="content-main".*<p class="flagstaff-links"', html, re.DOTALL)
    chart = re.compile(r"<svg.*?</svg>", re.DOTALL)
    unfolded = text_of(
        re.sub(r"<details.*?</details>", "", chart.sub("", content), flags=re.DOTALL)
    )
    for word in ("inside", "outside", "trip", "brake", "e-value", "evidence"):
        assert not re.search(rf"\b{word}", unfolded, re.IGNORECASE), (word, unfolded)


# A change of the flag by hand.


def test_confirmations_of_a_change_of_the_flag_say_that_the_plan_is_paused(
    operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    paused = ["running", "paused"]
    kill = operator.get(f"{FLAGS}{flag.pk}/kill/")
    assert preview_of(kill)["plan"] == paused
    release = operator.get(f"{FLAGS}{flag.pk}/release/")
    assert preview_of(release)["plan"] == paused
    rollout = operator.get(f"{FLAGS}{flag.pk}/rollout/?percent=100")
    assert preview_of(rollout)["plan"] == paused
    FeatureFlag.objects.update(enabled=False)
    assert preview_of(operator.get(f"{FLAGS}{flag.pk}/on/"))["plan"] == paused


def test_confirmation_of_several_flags_says_which_plans_are_paused(
    operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    other = make_flag("other")
    data = {"action": "kill", "index": "0", "_selected_action": [flag.pk, other.pk]}
    [(lines, _heading), _uses] = operator.post(FLAGS, data).context["tables"]
    assert ["paused" in line.after for line in lines] == [True, False]
    rollouts.pause(KEY)
    [(lines, _heading), _uses] = operator.post(FLAGS, data).context["tables"]
    assert not any("paused" in line.after for line in lines)


def test_restore_says_that_the_plan_is_paused_only_if_it_decides_about_users(
    operator: Client, flag: FeatureFlag
) -> None:
    changes.flags.update(KEY, {"description": "first"})
    first = flag_version(flag)
    rollouts.start(KEY, STEPS)
    started = flag_version(flag)
    changes.flags.update(KEY, {"description": "second"})
    paused = '<td class="flagstaff-change" data-label="After">paused</td>'
    assert paused in page(operator, restore_url(first))
    assert paused not in page(operator, restore_url(started))


def flag_version(flag: FeatureFlag) -> int:
    version = version_of(Kind.FLAG, flag.pk)
    assert version
    return version


def test_plan_that_does_not_run_is_not_paused_by_a_change(
    operator: Client, admin_user: User, flag: FeatureFlag
) -> None:
    FeatureFlag.objects.update(rules=RULES)
    rollouts.create(KEY, STEPS)
    assert "plan" not in preview_of(operator.get(f"{FLAGS}{flag.pk}/kill/"))
