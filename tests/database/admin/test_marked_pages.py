"""Every page of the admin shows only texts that can be translated."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, product
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils import timezone

from flagstaff import changes, experiments, rollouts
from flagstaff._tables.rows import Kind
from flagstaff.actions import all_actions
from flagstaff.admin.links import changes_url, history_url, undo_url
from flagstaff.admin.rules.forms import JSON_OPERATORS
from flagstaff.experiments.models import Experiment, ExperimentEvent
from flagstaff.history import flag_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment, WaitingAction
from flagstaff.rollouts.models import Plan, PlanEvent, State
from tests.support import experiments as shop_experiments
from tests.support.admin_pages import (
    FLAGS,
    RECENT,
    SEGMENTS,
    VALUES,
    asks,
    confirmed,
    production,
    staff,
)
from tests.support.admin_urls import models, urls_for
from tests.support.experiments import EXPERIMENTS, expose
from tests.support.marked_texts import marked, unmarked_texts
from tests.support.plans import PLANS, drive_recently, fail, run_of, see
from tests.support.screen import Screen
from tests.support.sql import rolled_back
from tests.support.stale_flags import collect_usage, evaluate
from tests.support.waiting import ask

USER_FLAGS = "/admin/flagstaff/featureflag/user/"
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
OPERATORS = [name for name in JSON_OPERATORS if name != "isnull"]
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


orders = replace(shop_experiments.orders, description="", unit="b1")
revenue = replace(shop_experiments.revenue, unit="b1")
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
    # The page is closed to all, because the terminal writes these rules.
    secret = {"rules of v2": f"{VALUES}{values['v2']}/rules/"}
    return {**flags, **values, **segments, **secret, "newest": flag_version("f1"), "w1": waiting}


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


#: What the pages show with other parameters.
PAGES = [
    *("/admin/flagstaff/", f"{FLAGS}?q=zz1", f"{FLAGS}?changed=24h"),
    FLAGS + "{f1}/change/?user=u1&context=a1%3D1",
    FLAGS + "{f1}/change/?user=u2&context=a1",
    FLAGS + "{f1}/allowed-users/?q=u1",
    FLAGS + "{f2}/rollout/?percent=5",
    f"{FLAGS}search/?q=1",
    *(f"{USER_FLAGS}?user=9&context=a%3D1", f"{USER_FLAGS}?user=z9&context=9"),
    *(f"{RECENT}?key=z9", f"{RECENT}?from=x&to=1", f"{PLANS}add/?key=f1"),
]
#: Answers for scripts, and pages that do not exist.
NO_PAGES = {
    f"{PLANS}<>/history/",
    f"{EXPERIMENTS}<>/history/",
    # Nobody adds or deletes one, and its history is a page of Django.
    *(WAITING + view for view in ("add/", "<>/delete/", "<>/history/")),
}


def pages(rows: dict[str, Any]) -> Iterator[str]:
    """Yields the URL of each page of flagstaff, for each of its rows."""
    yield from (path.format(**rows) for path in PAGES)
    stored = chain.from_iterable(model._default_manager.all() for model in models())
    for url in sorted({*urls_for([*stored])}):
        # Django's old URL of a row ends without a page.
        if not re.search(r"\d/$", url) and re.sub(r"\d+", "<>", url) not in NO_PAGES:
            yield url


#: Stored words that a page without inputs shows as text: a bucketing unit, and operators.
STORED = frozenset({"user", *OPERATORS, "isnull"})
#: The words of rules as JSON, and of a command.
RULE_WORDS = STORED | {
    *("rules", "name", "conditions", "rollout_percent"),
    *("manage.py", "flags", "segment", "create"),
}


def problems(response: Any, same: frozenset[str] = STORED) -> list[str]:
    """Returns the texts of a page that cannot be translated, besides some words."""
    assert response.status_code == 200, response
    # The alternative texts of Django's own pictures are not translated.
    html = re.sub('alt="(Search|True|False)"', "", response.content.decode())
    # What has happened is stored and shown in English.
    texts = (
        *(PlanEvent.objects.values_list("message"), ExperimentEvent.objects.values_list("message")),
        WaitingAction.objects.exclude(users="").values_list("users"),
        WaitingAction.objects.exclude(rough_users="").values_list("rough_users"),
    )
    stored = {text.casefold() for rows_of_table in texts for (text,) in rows_of_table}
    # The kind in front of it is translated.
    stored |= {rest for text in stored if (rest := text.partition(": ")[2])}
    return [
        text
        for text in unmarked_texts(html, same)
        if not any(stored_text in text.casefold() for stored_text in stored)
    ]


def check_opened(client: Client, urls: Iterable[str]) -> set[str]:
    """Checks the pages that a person may open, and returns those that the person may not."""
    opened = {url: client.get(url, follow=True) for url in urls}
    closed = {url for url, response in opened.items() if response.status_code == 403}
    problems_by_url = {url: problems(opened[url]) for url in opened.keys() - closed}
    assert not any(problems_by_url.values()), problems_by_url
    return closed


#: The path of an action.
ACTION = re.compile(r"/(add|\d+/(?!change|history|allowed-users)[\w-]+)/(\?|$)")


@pytest.mark.parametrize(
    ("app", "fixture"),
    [
        ("flagstaff", "rows"),
        ("flagstaff_rollouts", "plan"),
        ("flagstaff_experiments", "experiment"),
    ],
)
def test_pages_show_only_marked_texts(
    app: str, fixture: str, operator: Client, rows: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(fixture)
    closed = check_opened(operator, (url for url in pages(rows) if f"/{app}/" in url))
    assert closed == ({rows["rules of v2"]} if app == "flagstaff" else set())


def test_pages_of_plans_in_each_state_show_only_marked_texts(
    operator: Client, rows: dict[str, Any], plan: None
) -> None:
    Plan.objects.update(guarded_until=None)
    of_plan = FLAGS + f"{rows['f4']}/change/"
    of_plans = [url for url in pages(rows) if PLANS in url]
    assert check_opened(operator, ["/admin/", FLAGS, of_plan, *of_plans]) == set()
    for state in State:
        Plan.objects.update(state=state, step=None if state == State.PENDING else 0)
        assert check_opened(operator, [FLAGS, PLANS]) == set()


def follow(client: Client, url: str, data: dict[str, Any]) -> None:
    """Posts a form and checks the page after it; confirms if it asks, and checks that, too."""
    response = client.post(url, data, follow=True)
    assert problems(response, RULE_WORDS if url.endswith("/rules/") else STORED) == []
    if asks(response):
        url = response.wsgi_request.get_full_path()
        assert problems(client.post(url, confirmed(response), follow=True)) == []


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
RULES_AS_JSON = (
    "[1]",
    "{",
    '[{"conditions": [], "z1": 1}]',
    '[{"conditions": [{"segment": "s9"}]}]',
)
CONFIRMED = {"_confirmed": "1"}
#: What is typed for many flags, of which one is gone.
OF_MANY = {
    **CONFIRMED,
    "_selected_action": ["{f1}", "{f2}", "0"],
    "_reason": "1",
    "percent": "5",
    "owner": "o9",
    "tags": "t9",
    "review_on": "2001-01-01",
}
#: What is typed on pages.
FORMS: dict[str, list[dict[str, Any]]] = {
    f"{FLAGS}add/": [
        {"key": ""},
        {"key": "-1:", "tags": "[1, 1", "bucket_by": " b1"},
        {"key": "f1", "tags": "{}"},
        {"key": "f9", "kind": "release"},
    ],
    FLAGS + "{f1}/kill/": [CONFIRMED],
    FLAGS + "{f2}/on/": [CONFIRMED],
    FLAGS + "0/kill/": [CONFIRMED],
    FLAGS + "{f1}/delete/": [{}],
    FLAGS + "{f3}/rollout/": [{"percent": "x"}, {"percent": "50"}],
    FLAGS + "{f3}/rules/": [
        *({"rules": text} for text in RULES_AS_JSON),
        {**TYPED_RULES, "_edit": "json:"},
        TYPED_RULES,
    ],
    FLAGS + "{f3}/unit/": [{"bucket_by": " b1"}],
    FLAGS + "{f3}/allow/": [{"users": "u1, u8"}],
    FLAGS + "{f3}/disallow/": [{"users": ""}],
    FLAGS + "{f3}/details/": [{"tags": "[1, 1", "review_on": "x"}],
    FLAGS + "{f3}/release/": [{}],
    FLAGS: [
        {"action": name, "_selected_action": ["{f1}", "{f2}"], **more}
        for name in ("kill", "on", "rollout", "release", "details", "delete")
        for more in ({}, OF_MANY)
    ],
    f"{RECENT}?undo=1": [{}],
    RECENT + "?undo={newest}": [{**CONFIRMED, "expect_version": "1"}],
    f"{VALUES}add/": [
        {},
        *({"key": "v9", "value": text} for text in ('{"a1": 1, "a1": 2}', "[1,", "null", "5")),
    ],
    VALUES + "{v1}/delete/": [{}],
    f"{SEGMENTS}add/": [{}],
    SEGMENTS + "{s1}/delete/": [{}],
    f"{PLANS}add/?key=f1": [{}, {"key": "f9"}, {"key": "f1", "steps": "5:9\n100", "guards": "a=1"}],
    f"{EXPERIMENTS}add/": [
        {},
        {"key": "x 1", "variants": "n1:x", "rules": "["},
        {"key": "x3", "variants": "n1\nn1"},
    ],
}


def test_page_after_a_form_shows_only_marked_texts(
    operator: Client, rows: dict[str, Any], subtests: pytest.Subtests
) -> None:
    for url, data in ((url, data) for url, typed in FORMS.items() for data in typed):
        filled = {
            field: [item.format(**rows) for item in value] if isinstance(value, list) else value
            for field, value in data.items()
        }
        with subtests.test(f"{url} {data}"), rolled_back():
            follow(operator, url.format(**rows), filled)


def test_pages_of_an_undo_show_only_marked_texts(operator: Client, rows: dict[str, Any]) -> None:
    changes.flags.delete("f3")
    site, version = admin.site, Change.objects.latest("id").pk
    of_flag = Change.objects.filter(key="f1")
    first, last = of_flag.earliest("id").pk, of_flag.latest("id").pk
    urls = [
        undo_url(site, [version]),
        undo_url(site, [first, last]),
        changes_url(site, {"transaction": last}),
        changes_url(site, {"transaction": first, "undo": "all"}),
        history_url(site, Kind.FLAG, "f3"),
        RECENT,
    ]
    for history in (f"{FLAGS}{rows['f1']}/history/", f"{VALUES}{rows['v1']}/history/"):
        shown = Screen(operator.get(history, follow=True))
        for name in ("undo", "restore"):
            links = shown.attributes(f'a[href*="?{name}="]', "href")
            urls += {link.partition("&")[0] for link in (links[0], links[-1])}
    for url in urls:
        response = operator.get(url, follow=True)
        assert problems(response) == []
        if asks(response):
            assert problems(operator.post(url, confirmed(response), follow=True)) == []


@pytest.mark.parametrize(
    ("pages", "kind", "keys"),
    [(PLANS, "plan", ("plan-f4", "plan-f5")), (EXPERIMENTS, "experiment", ("x1", "x2"))],
)
@pytest.mark.usefixtures("plan", "experiment")
def test_action_of_a_plan_and_an_experiment_shows_only_marked_texts(  # noqa: PLR0913, PLR0917
    pages: str,
    kind: str,
    keys: tuple[str, str],
    operator: Client,
    rows: dict[str, Any],
    subtests: pytest.Subtests,
) -> None:
    typed = {"unit": "n3", "winner": "n2", "metric": "m3", "percent": "100"}
    names = [action.name for action in all_actions(kind) if not action.creates]
    for name, key in product(names, keys):
        with subtests.test(f"{name} {key}"), rolled_back():
            if name == "resume":
                rollouts.pause("f4")
            url = f"{pages}{rows[key]}/{name}/"
            shown = Screen(operator.get(url)).fields()
            follow(operator, url, shown)
            changed = {field: typed[field] for field in typed.keys() & shown.keys()}
            follow(operator, url, shown | changed)


@pytest.mark.parametrize("setting", ["READ_ONLY", "REQUIRE_REASON"])
def test_pages_with_a_setting_or_for_a_reader_show_only_marked_texts(
    setting: str, operator: Client, rows: dict[str, Any], settings: Any
) -> None:
    models = ("featureflag", "keyvaluestore", "segment", "plan", "experiment")
    urls = [*pages(rows)]
    actions = {url for url in urls if ACTION.search(url)}
    closed = {rows["rules of v2"]}
    if setting == "READ_ONLY":
        settings.FLAGSTAFF = {**settings.FLAGSTAFF, setting: True}
        # The other actions have a row, and show what they would do to it.
        closed |= {url for url in actions if "/add/" in url}
    else:
        production(settings, "E1", APPROVAL="most", **{setting: True})
        reader = staff(*(f"view_{model}" for model in models), name="u2")
        assert check_opened(reader, urls) == actions
    assert check_opened(operator, urls) == closed
    for path in ("{f3}/kill/", "{f2}/on/", "{f1}/delete/"):
        url = FLAGS + path.format(**rows)
        response = operator.post(url, Screen(operator.get(url)).fields(), follow=True)
        if response.status_code == 200:
            assert problems(response) == []
