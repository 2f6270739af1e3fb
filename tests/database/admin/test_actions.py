"""What the pages of all actions have in common: a person types the samples of the terminal."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flagstaff import acting_as, changes
from flagstaff.actions import Kind
from flagstaff.actions.commit import look_at
from flagstaff.actions.table import Run, present_rows
from flagstaff.experiments.models import Experiment
from flagstaff.models import Change, KeyValueStore
from flagstaff.rollouts.models import Plan
from tests.support.admin_pages import (
    FLAGS,
    SEGMENTS,
    VALUES,
    act,
    act_and_stay,
    answer,
    edited,
    errors_of,
    links_of,
    messages_of,
    page,
    problems_of,
    production,
    restore_url,
    row_url,
    staff,
    text_to_type,
    typed,
    undo_url,
    undo_urls,
)
from tests.support.experiments import EXPERIMENTS
from tests.support.history import newest_entry
from tests.support.plans import PLANS
from tests.support.samples import (
    SAMPLES,
    WITHOUT_UNDO,
    Sample,
    each,
    entries_after,
    result_of,
    rows_now,
)
from tests.support.screen import Screen
from tests.support.shop import STAFF, Shop
from tests.support.sql import statements_of_one
from tests.support.terminals import asked

pytestmark = pytest.mark.usefixtures("open_shop", "metrics")

LISTS: dict[Kind | str, str] = {
    Kind.FLAG: FLAGS,
    Kind.VALUE: VALUES,
    Kind.SEGMENT: SEGMENTS,
    "plan": PLANS,
    "experiment": EXPERIMENTS,
}
#: On pages, a flag is turned off by the kill, and a plan is created before its start.
WITHOUT_PAGE = {("plan", "start")}
TYPED_AS_JSON = {"rules", "conditions", "value", "choices"}
WITH_PAGE = [sample for sample in SAMPLES if (sample.kind, sample.name) not in WITHOUT_PAGE]
#: Their pages are those of the changes.
UNDOING = {"undo", "restore"}
#: Of rows with a history.
OF_ROWS = [sample for sample in WITH_PAGE if isinstance(sample.kind, Kind)]
CHANGES = [
    sample for sample in OF_ROWS if not sample.before and sample.name not in {"create", "delete"}
]
#: With those of the session, the user and the rights. Of a restore, and of the two steps of a plan,
#: there is more to read; of most, also what rules need, and what needs the row.
MAX_QUERIES, MORE_QUERIES = 30, 39


def is_delayed(sample: Sample) -> bool:
    """Whether it is not of an emergency, and deletes no events with their reasons."""
    is_of_app = not isinstance(sample.kind, Kind)
    return sample.action.always_runs is not True and not (is_of_app and sample.action.deletes)


def pk_of(sample: Sample) -> int:
    """The primary key of the row of a sample."""
    if isinstance(sample.kind, Kind):
        return int(sample.kind.row(sample.key).pk)
    model: Any = Plan if sample.kind == "plan" else Experiment
    return int(model.objects.get(key=sample.key).pk)


def url_of(sample: Sample) -> str:
    """The URL of the page of a sample."""
    if sample.name == "create":
        return f"{LISTS[sample.kind]}add/"
    if isinstance(sample.kind, Kind) and sample.name == "undo":
        return undo_url(newest_entry())
    if sample.name == "restore":
        return restore_url(sample.arguments["version"])
    return f"{LISTS[sample.kind]}{pk_of(sample)}/{sample.name}/"


def inputs_of(sample: Sample, **others: str) -> dict[str, str]:
    """What a person types on the page of a sample."""
    inputs = {"key": sample.key} if sample.name == "create" else {}
    for name, argument in sample.arguments.items():
        if name in TYPED_AS_JSON:
            inputs[name] = json.dumps(argument)
        elif isinstance(argument, list):
            inputs[name] = "\n".join(map(str, argument))
        # Its page has it in its URL.
        elif name != "version":
            inputs[name] = "on" if argument is True else str(argument)
    return inputs | others


REASON_REQUIRED = "A reason is required. Write why you make this change: the history shows it."
LOCK_OR_WRITE = re.compile("FOR (NO KEY )?UPDATE|^(INSERT|UPDATE|DELETE)")


@each(WITH_PAGE)
@pytest.mark.usefixtures("reason_required")
@pytest.mark.one_in(4)
def test_page_shows_writes_and_undoes_what_the_action_writes(
    sample: Sample, operator: Client, admin_user: User, tmp_path: Path
) -> None:
    action, before, last = sample.action, rows_now(), newest_entry()
    by_changes = result_of(
        lambda: sample.change(sample.key),
        actor=str(admin_user.pk),
        reason="test" if is_delayed(sample) else "",
    )
    url, inputs = url_of(sample), inputs_of(sample)

    shown = Screen(page(operator, url))
    assert shown.part("#id_reason").has("required") == is_delayed(sample)
    data = edited(shown, **inputs)
    require_no_write(sample, operator, url, data)
    if sample.name not in UNDOING:
        require_same_question_in_the_terminal(sample, operator, url, data, tmp_path)

    response = act_and_stay(operator, url, data)
    if is_delayed(sample):
        assert problems_of(response) == [REASON_REQUIRED]
        assert (rows_now(), newest_entry()) == (before, last)
        response = operator.post(url, Screen(response).fields() | {"_reason": "test"})
    assert [*rows_now(), *entries_after(last)] == by_changes
    assert {entry.source for entry in Change.objects.filter(id__gt=last)} <= {"admin"}
    assert sample.key in messages_of(response)[0]
    [logged] = LogEntry.objects.all()
    assert sample.key in logged.object_repr
    written = ADDITION if action.creates else DELETION if action.deletes else CHANGE
    assert logged.action_flag == written
    rows = LISTS[sample.kind]
    assert response["Location"] == (rows if action.deletes else f"{rows}{pk_of(sample)}/change/")

    # As in the terminal.
    is_undone = (sample.kind, sample.name) not in WITHOUT_UNDO
    assert len(undo_urls(response)) == is_undone
    if is_undone and isinstance(sample.kind, Kind):
        url = undo_urls(response)[0]
        act_and_stay(operator, url, typed(operator, url, _reason="test"))
        assert rows_now() == before


def require_no_write(sample: Sample, client: Client, url: str, data: dict[str, Any]) -> None:
    """Requires that a page, and its preview for a script, make few queries and write nothing."""
    of_page = statements_of_one(lambda: page(client, url))
    assert len(of_page) <= (MORE_QUERIES if sample.name in {"restore", "resume"} else MAX_QUERIES)
    of_preview = statements_of_one(lambda: previewed(client, url, data))
    assert [text for text in of_page + of_preview if LOCK_OR_WRITE.search(text)] == []


def require_same_question_in_the_terminal(
    sample: Sample, client: Client, url: str, data: dict[str, Any], directory: Path
) -> None:
    """Requires that the terminal asks with the lines and numbers of the page."""
    rows = present_rows(sample.action, [sample.key])
    if not look_at(Run(sample.action, [sample.key], rows, sample.arguments)).asks:
        return
    # The time zone of the terminals of the tests.
    with timezone.override("UTC"):
        shown = previewed(client, url, data).context["look"]
    before, words = rows_now(), sample.words.replace("--yes", "").strip()
    ran = asked(f"{sample.line(words, directory)} --reason test", "n")
    assert (ran.status, rows_now()) == (2, before)
    terminal = " ".join(ran.err.split())
    lines = [f"{line.field}: {line.now} → {line.after}" for line in shown.lines if line.now]
    users = [shown.users_text()] if shown.changed else []
    for text in (*lines, *shown.notes, *users):
        assert " ".join(text.split()) in terminal


def previewed(client: Client, url: str, data: dict[str, Any]) -> Any:
    """Asks what the arguments would change, as a script does."""
    response = client.post(url, data | {"_edit": "preview"})
    assert response.status_code == 200
    return response


@each([sample for sample in WITH_PAGE if sample.name != "create" and sample.name not in UNDOING])
@pytest.mark.one_in(8)
def test_read_only_page_shows_the_look_to_a_viewer_and_writes_nothing(
    sample: Sample, shop: Shop, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    names = ("featureflag", "keyvaluestore", "segment", "experiment")
    viewer = shop.client("vera", "view_user", *(f"view_{name}" for name in names))
    before, url = rows_now(), url_of(sample)
    response = viewer.get(url, inputs_of(sample))
    assert response.status_code == 200
    assert not Screen(response).has(".flagstaff-confirm")
    assert viewer.post(url, inputs_of(sample)).status_code == 403
    assert rows_now() == before


@each([sample for sample in CHANGES if sample.name not in {"kill", "off"}])
@pytest.mark.one_in(8)
def test_change_by_another_person_is_shown_before_the_action_and_its_repetition_changes_nothing(
    sample: Sample, operator: Client, admin_user: User
) -> None:
    inputs, url = inputs_of(sample, _reason="test"), url_of(sample)
    data = typed(operator, url, **inputs)
    with acting_as("bob"):
        getattr(changes, f"{sample.action.noun}s").update(sample.key, {"description": "Newer"})
    before, last = rows_now(), newest_entry()
    by_changes = result_of(lambda: sample.change(sample.key), actor=str(admin_user.pk))
    response = operator.post(url, data | {"_confirmed": "1"})
    said, newer = problems_of(response)
    assert said == f"“{sample.key}” has changed since the page was shown. Press the button again."
    assert re.fullmatch('bob: description (".+" → )?"Newer"', newer)
    assert inputs.items() <= Screen(response).fields().items()
    assert rows_now() == before
    # What a person has not edited keeps the newer description.
    operator.post(url, Screen(response).fields())
    assert [*rows_now(), *entries_after(last)] == by_changes

    last = newest_entry()
    repeated = act_and_stay(operator, url, typed(operator, url, **inputs))
    assert f"Nothing was changed: “{sample.key}” already has these values." in messages_of(repeated)
    assert newest_entry() == last
    assert LogEntry.objects.count() == 1


NOBODY = {"conditions": [{"segment": "nobody"}]}
NO_SEGMENT, NO_SEGMENT_OF_VALUE = json.dumps([NOBODY]), json.dumps([{**NOBODY, "value": 1}])
WRONG_TYPE = json.dumps([{"conditions": [STAFF], "value": "1"}])
REQUIRED = "This field is required."
WRONG: list[tuple[Kind, str, str, dict[str, str], str]] = [
    (Kind.FLAG, "create", "", {"key": "a b"}, "the key has white space at position 2"),
    (Kind.FLAG, "create", "", {"key": ""}, REQUIRED),
    (Kind.FLAG, "create", "", {"key": "dark_mode"}, "already exists"),
    (Kind.FLAG, "create", "", {"key": "x" * 300}, "at most 255 characters"),
    (Kind.FLAG, "rollout", "dark_mode", {"percent": "101"}, "less than or equal to 100."),
    (Kind.FLAG, "rollout", "dark_mode", {"percent": ""}, REQUIRED),
    (Kind.FLAG, "unit", "dark_mode", {"bucket_by": ""}, ""),
    (Kind.FLAG, "rules", "dark_mode", {"rules": "[{]"}, "not valid JSON"),
    (Kind.FLAG, "rules", "dark_mode", {"rules": NO_SEGMENT}, "'nobody'"),
    (Kind.FLAG, "allow", "dark_mode", {"users": ""}, REQUIRED),
    (Kind.FLAG, "allow", "dark_mode", {"users": "alise"}, "“alise”. Did you mean “alice”?"),
    (Kind.FLAG, "allow", "dark_mode", {"users": "bob, x"}, "primary key or username: “x”."),
    (Kind.FLAG, "details", "dark_mode", {"tags": "a" * 200}, ""),
    (Kind.FLAG, "details", "dark_mode", {"review_on": "tomorrow"}, "Enter a valid date."),
    (Kind.VALUE, "details", "page_size", {"value": "", "description": "x"}, "value is missing"),
    (Kind.VALUE, "rules", "page_size", {"rules": NO_SEGMENT_OF_VALUE}, "'nobody'"),
    (Kind.VALUE, "rules", "page_size", {"rules": WRONG_TYPE}, "must be an integer"),
    (Kind.SEGMENT, "create", "", {"key": "enterprise"}, "already exists"),
    (Kind.SEGMENT, "conditions", "enterprise", {"conditions": "[]"}, "at least one condition"),
    (Kind.SEGMENT, "conditions", "enterprise", {"conditions": "[\n{]"}, "line 2, column 2"),
    (Kind.SEGMENT, "conditions", "enterprise", {"conditions": '{"a": 1}'}, "must be a list"),
]


def test_wrong_argument_is_an_error_and_what_was_typed_stays(
    operator: Client, subtests: pytest.Subtests
) -> None:
    KeyValueStore.objects.filter(key="page_size").update(type="integer")
    before = rows_now()
    for kind, name, key, inputs, problem in WRONG:
        with subtests.test(f"{kind.value} {name} {inputs}"):
            page_of_row = "add" if name == "create" else f"{kind.row(key).pk}/{name}"
            url = f"{LISTS[kind]}{page_of_row}/"
            conditions = {"conditions": json.dumps([STAFF])}
            others = conditions if (kind, name) == (Kind.SEGMENT, "create") else {}
            response = operator.post(url, typed(operator, url, **others, **inputs, _reason="why"))
            assert any(problem in error for error in errors_of(response)), errors_of(response)
            assert rows_now() == before
            assert (inputs | {"_reason": "why"}).items() <= Screen(response).fields().items()


@pytest.mark.parametrize("version", ["x", "-1", "9" * 31, "1,2"])
def test_unusable_version_writes_nothing(version: str, operator: Client) -> None:
    before = rows_now()
    url = f"{FLAGS}{Kind.FLAG.row('new_checkout').pk}/rollout/"
    data = typed(operator, f"{url}?percent=50", expect_version=version)
    assert operator.post(url, data).status_code in {200, 404}
    assert rows_now() == before


@pytest.mark.parametrize("kind", LISTS, ids=str)
def test_page_of_a_row_that_is_gone_says_so(kind: Kind | str, operator: Client) -> None:
    samples = [sample for sample in WITH_PAGE if sample.kind == kind]
    actions = [
        sample.name for sample in samples if sample.name != "create" and sample.name not in UNDOING
    ]
    views = [("change", "x"), ("history", "x"), *((name, "0") for name in actions)]
    for name, pk in (*views, *((actions[0], pk) for pk in ("x", "9" * 31, "\x00", "a/b"))):
        response = operator.get(f"{LISTS[kind]}{quote(pk)}/{name}/")
        assert response.status_code == 302
        assert f"with ID “{pk}” doesn" in messages_of(response)[-1]


@each([sample for sample in OF_ROWS if sample.name == "delete"])
def test_deletion_types_the_key_in_production(
    sample: Sample, operator: Client, settings: Any
) -> None:
    production(settings)
    before, shown = rows_now(), operator.get(url_of(sample))
    assert text_to_type(shown) == sample.key
    for text in ("", "other", sample.key.upper()):
        response = answer(operator, shown, _typed_key=text, _reason="test")
        assert problems_of(response) == [f"Not confirmed: type “{sample.key}” exactly."]
        assert Screen(response).fields("_reason") == {"_reason": "test"}
    assert rows_now() == before
    answer(operator, shown, _typed_key=f" {sample.key} ")
    assert rows_now() != before


SEEN = {"", "change", "history"}
TOGGLED = {*SEEN, "kill", "on", "off", "rollout"}
EDITED = {*TOGGLED, "release", "rules", "unit", "details"}


@pytest.mark.parametrize(
    ("kind", "permissions", "allowed"),
    [
        (Kind.FLAG, "change_keyvaluestore", set()),
        (Kind.FLAG, "view_featureflag", SEEN),
        (Kind.FLAG, "toggle_featureflag", TOGGLED),
        (Kind.FLAG, "change_featureflag", EDITED),
        (Kind.FLAG, "change_featureflag view_user", {*EDITED, "allow", "disallow"}),
        (Kind.FLAG, "add_featureflag", {"create"}),
        # Users have the flag.
        (Kind.FLAG, "delete_featureflag", set()),
        (Kind.VALUE, "toggle_featureflag", set()),
        (Kind.VALUE, "view_keyvaluestore", SEEN),
        (
            Kind.VALUE,
            "change_keyvaluestore",
            SEEN | {"set", "set-for-everyone", "rules", "details", "default"},
        ),
        (Kind.VALUE, "add_keyvaluestore", {"create"}),
        (Kind.VALUE, "delete_keyvaluestore", set()),
        (Kind.SEGMENT, "toggle_featureflag", set()),
        (Kind.SEGMENT, "view_segment", SEEN),
        (Kind.SEGMENT, "change_segment", {*SEEN, "conditions", "details"}),
        (Kind.SEGMENT, "add_segment", {"create"}),
        (Kind.SEGMENT, "delete_segment", set()),
    ],
)
@pytest.mark.one_in(4)
def test_pages_need_a_permission(kind: Kind, permissions: str, allowed: set[str]) -> None:
    client = staff(*permissions.split())
    samples = [
        sample
        for sample in OF_ROWS
        if sample.kind is kind and sample.name not in {"undo", "restore"}
    ]
    urls = {sample.name: url_of(sample) for sample in samples}
    first = f"{LISTS[kind]}{pk_of(samples[0])}"
    urls |= {"": LISTS[kind], "change": f"{first}/change/", "history": f"{first}/history/"}
    refused = {name for name, url in urls.items() if client.get(url).status_code == 403}
    assert urls.keys() - refused == allowed
    last = newest_entry()
    for name in refused:
        assert client.post(urls[name], {"_confirmed": "1"}).status_code == 403, name
    assert newest_entry() == last


@pytest.mark.parametrize(
    ("kind", "key", "count"), [(Kind.VALUE, "staff_limit", 4), (Kind.SEGMENT, "enterprise", 2)]
)
def test_page_names_the_permissions_that_its_actions_need(
    kind: Kind, key: str, count: int, shop: Shop
) -> None:
    shop.value("staff_limit")
    name = kind.model._meta.model_name
    html = page(staff(f"view_{name}"), row_url(kind.row(key)))
    assert links_of(html) == []
    assert html.count(f"(needs “Can change {kind.value}”)") == count
    assert html.count(f"(needs “Can delete {kind.value}”)") == 1


@each(
    [
        sample
        for sample in OF_ROWS
        if sample.name in {"create", "delete"} and sample.kind is not Kind.VALUE
    ]
)
@pytest.mark.parametrize("may_undo", [False, True])
def test_message_links_to_an_undo_that_the_user_may_do(sample: Sample, *, may_undo: bool) -> None:
    own, other = {"create": ("add", "delete"), "delete": ("delete", "add")}[sample.name]
    rights = ["view", own, *([other] * may_undo)]
    model = "featureflag" if sample.kind is Kind.FLAG else "segment"
    # Users lose the flag that is deleted, and get it back.
    more = ["toggle_featureflag"] if sample.kind is Kind.FLAG else []
    client = staff(*(f"{right}_{model}" for right in rights), *more)
    response = act(client, url_of(sample), **inputs_of(sample))
    assert len(undo_urls(response)) == may_undo


@each([sample for sample in OF_ROWS if sample.name == "create"])
def test_user_who_may_only_add_rows_gets_back_to_the_index(sample: Sample) -> None:
    assert isinstance(sample.kind, Kind)
    client = staff(f"add_{sample.kind.model._meta.model_name}")
    response = act(client, url_of(sample), **inputs_of(sample))
    assert response.redirect_chain == [("/admin/", 302)]
