"""Every text of flagstaff on the pages of the admin can be translated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils.html import strip_tags

from flagstaff import changes, rollouts
from flagstaff.history import flag_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from flagstaff.rollouts.models import Plan, State
from tests.support.admin_pages import FLAGS, SEGMENTS, VALUES, messages_of, page
from tests.support.plan_pages import PLANS, plan_url, press
from tests.support.rollouts import drive_recently, fail, plan_of, run_of, see
from tests.support.translations import capitals

GUARDS = ["errors", "latency=0.5,action=hold"]
OPERATORS = (
    *("in", "contains", "startswith", "endswith", "regex"),
    *("lt", "lte", "gt", "gte", "version_lt", "version_gte"),
)

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def translated() -> Iterator[None]:
    """Deletes the entries of other tests, and translates each message into capitals."""
    Change.objects.all().delete()
    with capitals():
        yield


@pytest.fixture
def flag(admin_user: User) -> FeatureFlag:
    changes.create("f1", enabled=True, rollout_percent=5)
    changes.add_allowed_users("f1", admin_user)
    changes.disable("f1")
    return FeatureFlag.objects.get(key="f1")


def words(html: str, element: str) -> set[str]:
    """Returns the words of an element that are not translated."""
    [inner] = re.findall(rf"<{element}>(.*?)</{element}>", html, re.DOTALL)
    text = unescape(strip_tags(re.sub("<time.*?</time>", " ", inner)))
    return lower_case(text)


def lower_case(text: str) -> set[str]:
    """Returns the words in lower case. The keys in these tests have a digit.

    "postgres" is the database user, who made changes without an actor.
    """
    return set(re.findall(r"\b[a-z_]{2,}\b", text)) - {"postgres"}


@pytest.fixture
def segment() -> Segment:
    odd = [{"attribute": "a1", "operator": one, "values": ["1", "2"]} for one in OPERATORS]
    both = [{**one, "negate": negate} for one in odd for negate in (True, False)]
    changes.create_segment(
        "s1", [*both, {"attribute": "a1", "operator": "isnull", "values": [True]}]
    )
    return Segment.objects.get()


def use(segment: Segment) -> None:
    """Writes rules that name the segment."""
    condition = {"segment": segment.key}
    rules = [{"conditions": [condition]}, {"conditions": [{**condition, "negate": True}]}]
    changes.update("f1", {"rules": rules})


def test_list_of_flags_is_translated(admin_client: Client, flag: FeatureFlag) -> None:
    assert words(page(admin_client, FLAGS), "tbody") == set()


def test_list_of_flags_with_rules_is_translated(
    admin_client: Client, flag: FeatureFlag, segment: Segment
) -> None:
    use(segment)
    changes.create("f2")
    FeatureFlag.objects.filter(key="f2").update(rules={})
    FeatureFlag.objects.update(enabled=True)
    assert words(page(admin_client, FLAGS), "tbody") == set()


def test_list_of_segments_is_translated(
    admin_client: Client, flag: FeatureFlag, segment: Segment
) -> None:
    use(segment)
    Segment.objects.create(key="s2", conditions={})
    assert words(page(admin_client, SEGMENTS), "tbody") == set()


def test_sentences_on_the_pages_are_translated(
    admin_client: Client, flag: FeatureFlag, segment: Segment
) -> None:
    use(segment)
    pages = (
        page(admin_client, f"{FLAGS}{flag.pk}/change/"),
        page(admin_client, f"{SEGMENTS}{segment.pk}/change/"),
    )
    for html in pages:
        shown = re.findall(r'<div class="readonly">(.*?)</div>', html, re.DOTALL)
        own = [strip_tags(text) for text in shown if re.search("[as]1", text)]
        assert own
        assert {word for text in own for word in lower_case(unescape(text))} == set()


def test_notices_about_unreadable_rules_are_translated(
    admin_client: Client, flag: FeatureFlag, segment: Segment
) -> None:
    FeatureFlag.objects.update(rules={})
    Segment.objects.update(conditions={})
    for url in (f"{FLAGS}{flag.pk}/change/", f"{SEGMENTS}{segment.pk}/change/"):
        [notice] = re.findall(r'"flagstaff-problem">(.*?)</p>', page(admin_client, url))
        # The problem itself is English, as all reasons of refused changes are.
        start, _problem, end = re.split("[:.]", unescape(notice), maxsplit=2)
        assert lower_case(start + end) == set()


def test_refused_deletion_of_a_segment_is_translated(
    admin_client: Client, flag: FeatureFlag, segment: Segment
) -> None:
    use(segment)
    url = f"{SEGMENTS}{segment.pk}/delete/"
    [message] = messages_of(admin_client.get(url, follow=True))
    assert lower_case(message) == set()


def test_history_is_translated(admin_client: Client, admin_user: User, flag: FeatureFlag) -> None:
    with transaction.atomic():
        changes.set_rollout("f1", 100)
        changes.create("f2")
    html = page(admin_client, f"{FLAGS}{flag.pk}/history/")
    assert words(html, "thead") == set()
    # The kind is JSON of the database.
    assert words(html, "tbody") == {"release", admin_user.username}


def test_history_of_a_value_is_translated(admin_client: Client) -> None:
    changes.create_value("v1", "x" * 2000, secret=False)
    changes.set_value("v1", 25)
    row = KeyValueStore.objects.get(key="v1")
    html = page(admin_client, f"{VALUES}{row.pk}/history/")
    assert words(html, "tbody") == {"x" * 299}


def test_preview_of_a_restore_is_translated(admin_client: Client, flag: FeatureFlag) -> None:
    first = flag_version("f1")
    changes.set_rollout("f1", 100)
    changes.update("f1", {"description": "1", "client_side": True})
    response = admin_client.post(f"{FLAGS}{flag.pk}/history/", {"_restore": first})
    html = response.content.decode()
    assert words(html, "thead") == set()
    assert words(html, "tbody") == set()


@pytest.fixture
def plan(admin_user: User) -> Plan:
    """A plan that has counted, and holds."""
    drive_recently()
    changes.create("f1", enabled=True)
    plan = rollouts.create("f1", ["5:90m", "25:1d", "100"], guards=GUARDS)
    for inside in (True, False):
        see(run_of("f1"), inside=inside, users=300)
        fail(run_of("f1"), inside=inside, users=30)
    return plan


def test_lists_with_a_plan_are_translated(admin_client: Client, plan: Plan) -> None:
    for state in State:
        Plan.objects.update(state=state, step=None if state == State.PENDING else 0)
        assert words(page(admin_client, PLANS), "tbody") == set()
        assert words(page(admin_client, FLAGS), "tbody") == set()


def test_page_of_a_plan_is_translated(admin_client: Client, plan: Plan) -> None:
    def own(html: str) -> set[str]:
        # Events and verdicts are English, as the reasons of refused changes are.
        content = html.partition('class="flagstaff-plan">')[2].partition("<h2>EVENTS</h2>")[0]
        content = re.sub("<time.*?</time>|<strong>.*?</strong>|<code>.*?</code>", " ", content)
        text = re.sub("UTC|[A-Z][a-z]+|a\\.m|p\\.m", " ", unescape(strip_tags(content)))
        return lower_case(text)

    assert own(page(admin_client, plan_url(plan))) == set()
    rollouts.start("f1")
    for inside in (True, False):
        see(run_of("f1"), inside=inside, users=300)
        fail(run_of("f1"), inside=inside, users=30)
    assert own(page(admin_client, plan_url(plan))) == set()
    Plan.objects.update(guarded_until=None)
    assert own(page(admin_client, plan_url(plan))) == set()


def test_form_of_a_plan_is_translated(admin_client: Client, plan: Plan) -> None:
    html = page(admin_client, f"{PLANS}add/?flag=f1").partition('id="content-main"')[2]
    html = html.partition("</form>")[0]
    assert lower_case(unescape(strip_tags(re.sub("Time zone.*?<", "<", html)))) == set()


def test_messages_of_buttons_of_a_plan_are_translated(admin_client: Client, plan: Plan) -> None:
    for button in ("start", "jump", "pause", "resume", "rollback", "none"):
        for message in messages_of(press(admin_client, plan_of("f1"), button)):
            assert lower_case(message) == set()


@pytest.mark.parametrize("button", ["start", "delete"])
def test_confirmation_of_a_plan_is_translated(
    button: str, admin_client: Client, plan: Plan
) -> None:
    html = page(admin_client, f"{PLANS}{plan.pk}/delete/")
    if button == "start":
        [version] = re.findall('"expect_version" value="(.*?)"', page(admin_client, plan_url(plan)))
        data = {"_plan": "start", "expect_version": version}
        html = admin_client.post(plan_url(plan), data).content.decode()
    for element in ("thead", "tbody"):
        assert words(html, element) == set()


@pytest.mark.parametrize("view", ["turn-on", "kill"])
def test_message_after_a_toggle_is_translated(
    view: str, admin_client: Client, flag: FeatureFlag
) -> None:
    for _ in "once", "again":
        response = admin_client.post(f"{FLAGS}{flag.pk}/{view}/", {"_confirmed": "1"}, follow=True)
        [message] = messages_of(response)
        assert lower_case(message) == set()


@pytest.mark.parametrize("url", [FLAGS, VALUES, SEGMENTS, PLANS])
def test_labels_and_help_of_a_form_are_translated(url: str, admin_client: Client) -> None:
    html = page(admin_client, f"{url}add/")
    # An example of JSON and the names of operators are the same in all languages.
    html = re.sub("<pre.*?</pre>|<code>.*?</code>", " ", html, flags=re.DOTALL)
    texts = re.findall(r'<label.*?</label>|<div class="help".*?</div>', html, re.DOTALL)
    # Django translates its own help for a list of users.
    own = [text for text in texts if "Strg" not in text]
    assert {word for text in own for word in lower_case(unescape(strip_tags(text)))} == set()


@pytest.mark.parametrize("url", [FLAGS, VALUES, SEGMENTS, PLANS])
def test_columns_of_a_list_are_translated(url: str, admin_client: Client) -> None:
    changes.create("f1")
    rollouts.create("f1")
    changes.create_value("v1", 1)
    changes.create_segment("s1", [{"attribute": "a1", "operator": "in", "values": [1]}])
    html = page(admin_client, url)
    headings = re.findall(r'<div class="text">(.*?)</div>', html, re.DOTALL)
    assert len(headings) >= 4
    assert lower_case(unescape(strip_tags(" ".join(headings)))) == set()
