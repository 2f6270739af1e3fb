"""Every page of the admin shows only texts that can be translated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils import timezone

from flagstaff import changes, experiments, rollouts
from flagstaff.admin.links import changes_url, history_url, undo_url
from flagstaff.experiments.models import Experiment, ExperimentEvent
from flagstaff.history import flag_version
from flagstaff.history.kinds import Kind
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment, WaitingAction
from flagstaff.rollouts.models import Plan, PlanEvent, State
from tests.support import experiment_pages
from tests.support.admin_pages import (
    FLAGS,
    SEGMENTS,
    VALUES,
    asks,
    confirmed,
    production,
    staff,
)
from tests.support.experiment_pages import EXPERIMENTS, expose
from tests.support.form_inputs import inputs_of
from tests.support.marked_texts import marked, unmarked_texts
from tests.support.plan_pages import PLANS
from tests.support.rollouts import drive_recently, fail, run_of, see
from tests.support.stale_flags import collect_usage, evaluate
from tests.support.waiting import ask

UNKNOWN_KEYS = "/admin/flagstaff/featureflag/unknown-keys/"
WORKERS = "/admin/flagstaff/featureflag/workers/"
OVERVIEW = "/admin/flagstaff/featureflag/overview/"
RECENT_CHANGES = "/admin/flagstaff/featureflag/changes/"
USER_FLAGS = "/admin/flagstaff/featureflag/user/"
STALE = "/admin/flagstaff/featureflag/stale/"
WAITING = "/admin/flagstaff/waitingaction/"

# Each change is a transaction of its own, as in production.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.thorough]
RULES = [
    {
        "name": "r1",
        "rollout_percent": 50,
        "conditions": [
            {"attribute": "a1", "operator": "in", "values": ["1", "2"]},
            {"segment": "s1"},
        ],
    }
]
OPERATORS = (
    *("in", "contains", "startswith", "endswith", "regex"),
    *("lt", "lte", "gt", "gte", "version_lt", "version_gte"),
)
CONDITIONS = [
    {"attribute": "a1", "operator": operator, "values": ["1", "2"], "negate": negate}
    for operator in OPERATORS
    for negate in (True, False)
] + [{"attribute": "a1", "operator": "isnull", "values": [True]}]


@pytest.fixture(autouse=True)
def translated(settings: Any) -> Iterator[None]:
    """Marks all texts."""
    metrics = {f"m{name}": f"{__name__}.{path}" for name, path in METRICS}
    environment = {"name": "E1", "color": "red", "production": False}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": metrics, "ENVIRONMENT": environment}
    with marked(), timezone.override("UTC"):
        yield


orders = replace(experiment_pages.orders, description="", unit="b1")
revenue = replace(experiment_pages.revenue, unit="b1")
METRICS = (("1", "orders"), ("2", "revenue"))


@pytest.fixture
def operator() -> Client:
    user = User.objects.create_superuser("u1", password="u1")
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def rows(operator: Client) -> dict[str, Any]:
    """The primary keys of flags with a history, evaluations, rules, and of the other rows."""
    changes.segments.create("s1", CONDITIONS)
    changes.flags.create("f1", enabled=True, rollout_percent=5)
    changes.flags.allow("f1", User.objects.get())
    changes.flags.update("f1", {"rules": RULES, "tags": ["t1"], "owner": "o1"})
    changes.flags.set_rollout("f1", 25)
    changes.flags.disable("f1")
    changes.segments.create("s2", CONDITIONS[:1])
    Segment.objects.filter(key="s2").update(conditions={})
    changes.values.create("v1", {"a1": [1, 2]})
    changes.values.create("v2", "x1", secret=True)
    changes.values.create("v3", "x1" * 1000)
    changes.values.set("v3", 25)
    with transaction.atomic():
        changes.flags.enable("f1")
        changes.values.set("v1", "y1")
    changes.flags.create("f2")
    FeatureFlag.objects.filter(key="f2").update(rules={})
    changes.flags.create("f3", enabled=True, rollout_percent=100)
    with transaction.atomic():
        collect_usage()
    for key in "f1", "f3", "k9", "f33":
        evaluate(key, times=7)
    User.objects.create_superuser("u7")
    waiting = ask("rollout f3 50 --request", actor="u7").pk
    flags = {row.key: row.pk for row in FeatureFlag.objects.all()}
    values = {row.key: row.pk for row in KeyValueStore.objects.all()}
    segments = {row.key: row.pk for row in Segment.objects.all()}
    return {**flags, **values, **segments, "newest": flag_version("f1"), "w1": waiting}


@pytest.fixture
def plan(rows: dict[str, Any]) -> None:
    """A plan of one step that has counted, and one that has not begun."""
    drive_recently()
    changes.flags.create("f4", enabled=True)
    guards = ["errors", "latency=0.5,action=hold"]
    rollouts.create("f4", ["5:90m", "25:1d", "100"], guards=guards)
    changes.flags.create("f5", enabled=True)
    rollouts.create("f5", ["5:90m", "100"], guards=guards)
    changes.flags.create("f6", enabled=True)
    rollouts.create("f6")
    rollouts.start("f4")
    for key, inside in product(("f4", "f5"), (True, False)):
        see(run_of(key), inside=inside, users=300)
        fail(run_of(key), inside=inside, users=30)
    for key in "f4", "f5":
        rows[f"plan-{key}"] = Plan.objects.get(key=key).pk
        rows[key] = FeatureFlag.objects.get(key=key).pk


@pytest.fixture
def experiment(rows: dict[str, Any]) -> None:
    """An experiment with results, and a draft."""
    for key in "x1", "x2":
        experiments.create(key, ["n1", "n2"], bucket_by="b1")
        experiments.edit(key, primary="m1", planned_units=4000, others=["m2"])
        rows[key] = Experiment.objects.get(key=key).pk
    running = experiments.start("x1")
    expose(running, "n1", 400, 40)
    expose(running, "n2", 400, 80)


PAGES = [
    "/admin/",
    "/admin/flagstaff/",
    *(FLAGS, f"{FLAGS}?q=zz1", f"{FLAGS}?changed=24h", f"{FLAGS}add/"),
    # A flag with all parts, with unreadable rules, and for all users.
    *(FLAGS + key + "/change/" for key in ("{f1}", "{f2}", "{f3}")),
    FLAGS + "{f1}/change/?user=u1&context=a1%3D1",
    FLAGS + "{f1}/change/?user=u2&context=a1",
    *(FLAGS + "{f1}/" + view for view in ("allowed-users/", "allowed-users/?q=u1")),
    *(FLAGS + "{f1}/" + view for view in ("delete/", "history/", "kill/")),
    *(FLAGS + "{f2}/" + view for view in ("on/", "rollout/?percent=5", "release/", "rules/")),
    *(FLAGS + "{f1}/" + view for view in ("unit/", "allow/", "disallow/", "details/", "rules/")),
    *("/admin/flagstaff/featureflag/search/", "/admin/flagstaff/featureflag/search/?q=1"),
    # A value, a secret one, and a long one.
    *(VALUES + view for view in ("", "add/", "{v1}/change/", "{v2}/change/", "{v1}/delete/")),
    *(VALUES + key + "/history/" for key in ("{v1}", "{v2}", "{v3}")),
    *(VALUES + "{v1}/" + view for view in ("set/", "set-for-everyone/", "rules/", "details/")),
    VALUES + "{v2}/details/",
    # A segment, and one with unreadable conditions.
    *(SEGMENTS + view for view in ("", "add/", "{s1}/change/", "{s2}/change/", "{s1}/history/")),
    *(SEGMENTS + view for view in ("{s1}/conditions/", "{s1}/details/", "{s2}/delete/")),
    *(WAITING + view for view in ("", "{w1}/change/")),
    *(WAITING + "{w1}/" + view for view in ("approve/", "refuse/", "cancel/")),
    *(OVERVIEW, STALE, UNKNOWN_KEYS, WORKERS, RECENT_CHANGES, USER_FLAGS),
    *(f"{USER_FLAGS}?user=9&context=a%3D1", f"{USER_FLAGS}?user=z9&context=9"),
    *(f"{RECENT_CHANGES}?key=z9", f"{RECENT_CHANGES}?since=x&until=1"),
]
PLAN_PAGES = [
    *(FLAGS, FLAGS + "{f4}/change/"),
    *(PLANS, f"{PLANS}add/?key=f1", PLANS + "{plan-f4}/change/"),
    *(PLANS + "{plan-f5}/" + view for view in ("change/", "delete/", "start/")),
    *(PLANS + "{plan-f4}/" + view for view in ("pause/", "resume/", "roll-back/")),
]
# The actions of an experiment.
ACTIONS = (
    *("edit", "start", "grow", "add-metric", "restart", "force"),
    *("stop", "ship", "undo", "delete"),
)
EXPERIMENT_PAGES = [
    *(EXPERIMENTS, f"{EXPERIMENTS}add/", EXPERIMENTS + "{x1}/change/"),
    EXPERIMENTS + "{x2}/change/",
    *(f"{EXPERIMENTS}{key}/{name}/" for key in ("{x1}", "{x2}") for name in ACTIONS),
]


#: Stored words that a page without inputs shows as text: a bucketing unit, and operators.
STORED = frozenset({"user", *OPERATORS, "isnull"})
#: The words of rules as JSON, and of a command.
RULE_WORDS = STORED | {
    *("rules", "name", "conditions", "rollout_percent"),
    *("manage.py", "flags", "segment", "create"),
}


def check(response: Any, same: frozenset[str] = STORED) -> None:
    """Fails on a page with a text that cannot be translated, besides some words."""
    found = problems(response, same)
    assert not found, "\n".join(found)


def problems(response: Any, same: frozenset[str] = STORED) -> list[str]:
    """Returns the texts of a page that cannot be translated, besides some words."""
    assert response.status_code == 200, response
    # The alternative texts of Django's own pictures are not translated.
    html = re.sub('alt="(Search|True|False)"', "", response.content.decode())
    # What has happened is stored and shown in English.
    texts = (
        *(PlanEvent.objects.values_list("message"), ExperimentEvent.objects.values_list("message")),
        WaitingAction.objects.exclude(users="").values_list("users"),
    )
    stored = tuple(text.casefold() for found in texts for (text,) in found)
    return [
        text
        for text in unmarked_texts(html, same)
        if not any(one in text.casefold() for one in stored)
    ]


def check_all(client: Client, pages: list[str], rows: dict[str, Any]) -> None:
    """Fails on each of the pages with a text that cannot be translated."""
    found = {path: problems(client.get(path.format(**rows), follow=True)) for path in pages}
    assert not any(found.values()), found


def test_pages_show_only_marked_texts(operator: Client, rows: dict[str, Any]) -> None:
    check_all(operator, PAGES, rows)


def test_pages_with_plans_show_only_marked_texts(
    operator: Client, rows: dict[str, Any], plan: None
) -> None:
    check_all(operator, PLAN_PAGES, rows)
    Plan.objects.update(guarded_until=None)
    check_all(operator, PLAN_PAGES, rows)
    for state in State:
        Plan.objects.update(state=state, step=None if state == State.PENDING else 0)
        check_all(operator, [FLAGS, PLANS], rows)


def test_pages_with_experiments_show_only_marked_texts(
    operator: Client, rows: dict[str, Any], experiment: None
) -> None:
    check_all(operator, EXPERIMENT_PAGES, rows)


def follow(client: Client, url: str, data: dict[str, Any]) -> None:
    """Posts a form and checks the page after it; confirms if it asks, and checks that, too."""
    response = client.post(url, data, follow=True)
    check(response)
    if asks(response):
        url = response.wsgi_request.get_full_path()
        check(client.post(url, confirmed(response), follow=True))


TYPED_RULES = {
    "rules-rows": "1",
    "rules-0-name": "n" * 200,
    "rules-0-percent": "x",
    "rules-0-0-attribute": "a1",
    "rules-0-0-operator": "version_lt",
    "rules-0-0-values": "x1, 'y1",
    "rules-0-1-attribute": "",
    "rules-0-1-operator": "in",
    "rules-0-1-values": "1",
    "rules-0-2-segment": "s9",
}
RULE_WITHOUT_SEGMENT = '[{"conditions": [{"segment": "s9"}]}]'
MANY = ("kill", "on", "rollout", "release", "details", "delete")
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "flag-add-errors": (f"{FLAGS}add/", {"key": ""}),
    "flag-add-invalid": (f"{FLAGS}add/", {"key": "-1:", "tags": "[1, 1", "bucket_by": " b1"}),
    "flag-add-taken": (f"{FLAGS}add/", {"key": "f1", "tags": "{}"}),
    "flag-add-saved": (f"{FLAGS}add/", {"key": "f9", "kind": "release"}),
    "flag-kill": (FLAGS + "{f1}/kill/", {"_confirmed": "1"}),
    "flag-on": (FLAGS + "{f2}/on/", {"_confirmed": "1"}),
    "flag-kill-deleted": (f"{FLAGS}0/kill/", {"_confirmed": "1"}),
    "flag-delete": (FLAGS + "{f1}/delete/", {"post": "yes"}),
    "flag-undo-unknown": (f"{RECENT_CHANGES}?undo=1", {}),
    "flag-undo-conflict": (
        RECENT_CHANGES + "?undo={newest}",
        {"_confirmed": "1", "expect_version": "1"},
    ),
    **{
        f"flag-bulk-{name}": (FLAGS, {"action": name, "_selected_action": ["{f1}", "{f2}"]})
        for name in MANY
    },
    **{
        f"flag-bulk-{name}-confirmed": (
            FLAGS,
            {
                "action": name,
                "_selected_action": ["{f1}", "{f2}", "0"],
                "_confirmed": "1",
                "_reason": "1",
                "percent": "5",
                "owner": "o9",
                "tags": "t9",
                "review_on": "2001-01-01",
            },
        )
        for name in MANY
    },
    "value-add-errors": (f"{VALUES}add/", {}),
    "value-add-json": (f"{VALUES}add/", {"key": "v9", "value": '{"a1": 1, "a1": 2}'}),
    "value-add-text": (f"{VALUES}add/", {"key": "v9", "value": "[1,"}),
    "value-add-null": (f"{VALUES}add/", {"key": "v9", "value": "null"}),
    "value-add-saved": (f"{VALUES}add/", {"key": "v9", "value": "5"}),
    "value-delete": (VALUES + "{v1}/delete/", {"post": "yes"}),
    "segment-add-errors": (f"{SEGMENTS}add/", {"_save": "1"}),
    "segment-delete-used": (SEGMENTS + "{s1}/delete/", {"post": "yes"}),
}


@pytest.mark.parametrize("name", FORMS)
def test_page_after_a_form_shows_only_marked_texts(
    name: str, operator: Client, rows: dict[str, Any]
) -> None:
    url, data = FORMS[name]
    filled: dict[str, Any] = {
        field: [one.format(**rows) for one in value] if isinstance(value, list) else value
        for field, value in data.items()
    }
    follow(operator, url.format(**rows), filled)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("rollout", {"percent": "x"}),
        ("rollout", {"percent": "50"}),
        ("rules", {"rules": "[1]"}),
        ("rules", {"rules": '[{"conditions": [], "z1": 1}]'}),
        ("rules", {"rules": "{"}),
        ("rules", {"rules": RULE_WITHOUT_SEGMENT}),
        ("rules", {**TYPED_RULES, "_edit": "json:"}),
        ("rules", TYPED_RULES),
        ("unit", {"bucket_by": " b1"}),
        ("allow", {"users": "u1, u8"}),
        ("disallow", {"users": ""}),
        ("details", {"tags": "[1, 1", "review_on": "x"}),
        ("release", {}),
    ],
)
def test_page_of_an_action_shows_only_marked_texts(
    name: str, arguments: dict[str, str], operator: Client, rows: dict[str, Any]
) -> None:
    response = operator.post(f"{FLAGS}{rows['f3']}/{name}/", arguments, follow=True)
    check(response, RULE_WORDS if name == "rules" else STORED)


@pytest.mark.parametrize("name", ["undo", "restore"])
def test_link_of_a_history_shows_only_marked_texts(
    name: str, operator: Client, rows: dict[str, Any]
) -> None:
    for key, model in (("f1", FLAGS), ("v1", VALUES)):
        html = operator.get(f"{model}{rows[key]}/history/", follow=True).content.decode()
        urls = re.findall(rf'href="([^"]*\?{name}=\d+)[&"]', html)
        for url in {urls[0], urls[-1]}:
            response = operator.get(url)
            check(response)
            if asks(response):
                check(operator.post(url, confirmed(response), follow=True))


def test_pages_of_an_undo_show_only_marked_texts(operator: Client, rows: dict[str, Any]) -> None:
    changes.flags.delete("f3")
    site, version = admin.site, Change.objects.latest("id").pk
    of_flag = Change.objects.filter(key="f1")
    first, last = of_flag.earliest("id").pk, of_flag.latest("id").pk
    for url in (
        undo_url(site, [version]),
        undo_url(site, [first, last]),
        changes_url(site, {"transaction": last}),
        changes_url(site, {"transaction": first, "undo": "all"}),
        history_url(site, Kind.FLAG, "f3"),
    ):
        response = operator.get(url, follow=True)
        check(response)
        if asks(response):
            check(operator.post(url, confirmed(response), follow=True))
    check(operator.get(RECENT_CHANGES))


@pytest.mark.parametrize("name", ["start", "pause", "resume", "roll-back", "delete"])
def test_action_of_a_plan_shows_only_marked_texts(
    name: str, operator: Client, rows: dict[str, Any], plan: None
) -> None:
    if name == "resume":
        rollouts.pause("f4")
    for key in "plan-f4", "plan-f5":
        url = f"{PLANS}{rows[key]}/{name}/"
        form = inputs_of(operator.get(url).content.decode(), "")
        check(operator.post(url, form, follow=True))


@pytest.mark.parametrize("name", ACTIONS)
def test_action_of_an_experiment_shows_only_marked_texts(
    name: str, operator: Client, rows: dict[str, Any], experiment: None
) -> None:
    typed = {"unit": "n3", "winner": "n2", "metric": "m3", "percent": "100"}
    for key in "x1", "x2":
        url = f"{EXPERIMENTS}{rows[key]}/{name}/"
        response = operator.get(url)
        check(response)
        shown = inputs_of(response.content.decode(), "")
        follow(operator, url, shown)
        follow(operator, url, shown | {name: typed[name] for name in typed.keys() & shown.keys()})


ADD_FORMS: dict[str, tuple[dict[str, str], ...]] = {
    f"{PLANS}add/?key=f1": ({}, {"key": "f9"}, {"steps": "5:9\n100", "guards": "a=1"}),
    f"{EXPERIMENTS}add/": (
        {},
        {"key": "x 1", "variants": "n1:x", "rules": "["},
        {"variants": "n1\nn1"},
    ),
}


def test_forms_of_a_plan_and_an_experiment_show_only_marked_texts(
    operator: Client, rows: dict[str, Any]
) -> None:
    for url, edits in ADD_FORMS.items():
        for edit in edits:
            form = inputs_of(operator.get(url).content.decode(), "")
            check(operator.post(url, {**form, **edit}, follow=True))


def check_opened(client: Client, rows: dict[str, Any]) -> None:
    """Checks the pages that a person may open."""
    for path in PAGES:
        response = client.get(path.format(**rows))
        if response.status_code == 200:
            check(response)


@pytest.mark.parametrize("setting", ["READ_ONLY", "REQUIRE_REASON", "production"])
def test_pages_with_a_setting_or_for_a_reader_show_only_marked_texts(
    setting: str, operator: Client, rows: dict[str, Any], settings: Any
) -> None:
    models = ("featureflag", "keyvaluestore", "segment", "plan", "experiment")
    if setting == "production":
        production(settings, "E1")
        check_opened(staff(*(f"view_{model}" for model in models), name="u2"), rows)
    else:
        settings.FLAGSTAFF = {**settings.FLAGSTAFF, setting: True}
    check_opened(operator, rows)
    for path in ("{f3}/kill/", "{f2}/on/", "{f1}/delete/"):
        response = operator.post(FLAGS + path.format(**rows), {"_confirmed": "1"}, follow=True)
        if response.status_code == 200:
            check(response)


def test_each_page_of_the_admin_is_checked() -> None:
    known = {*PAGES, *PLAN_PAGES, *EXPERIMENT_PAGES}
    shown = {re.sub(r"\{.*?\}", "<>", path).partition("?")[0] for path in known}
    missing = {url for url in urls_of_pages() if url not in shown} - NO_PAGES
    assert not missing, f"add them to the pages of this file: {missing}"


#: Answers for scripts, and pages that do not exist.
NO_PAGES = {
    f"{PLANS}<>/history/",
    f"{EXPERIMENTS}<>/history/",
    # Nobody adds or deletes one, and its history is a page of Django.
    *(WAITING + view for view in ("add/", "<>/delete/", "<>/history/")),
}


def urls_of_pages() -> Iterator[str]:
    """Yields the URL of each page of the models of flagstaff."""
    for model, model_admin in admin.site._registry.items():
        if model._meta.app_label.startswith("flagstaff"):
            base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
            for one in model_admin.get_urls():
                if one.name:
                    yield base + re.sub(r"<.*?>", "<>", str(one.pattern))
