"""Each action does the same in a terminal, called from Python, and by `flagstaff.changes`."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import transaction

from flagstaff import acting_as, changes, experiments
from flagstaff.actions import Kind, all_actions
from flagstaff.exceptions import ConflictError, FlagstaffError
from flagstaff.experiments.editing import add_metric, edit, force, grow
from flagstaff.experiments.lifecycle import undo
from flagstaff.experiments.models import Experiment, ExperimentEvent
from flagstaff.history import flag_version
from flagstaff.history.log import version_of
from flagstaff.management.commands.flags import Command
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment, WaitingAction
from flagstaff.rollouts import plans
from flagstaff.rollouts.models import Plan, PlanEvent
from tests.conftest import ROOT
from tests.support.experiment_pages import METRICS
from tests.support.rollouts import drive_recently
from tests.support.terminals import run, undo_of
from tests.support.waiting import TOMORROW, make_due

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_shop", "plain_terminal")]

STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
RULES = [{"conditions": [STAFF]}]
VALUE_RULES = [{"conditions": [STAFF], "value": 50}]
FLAG, VALUE, SEGMENT = Kind.FLAG, Kind.VALUE, Kind.SEGMENT
PLAN, EXPERIMENT = "plan", "experiment"
KINDS: tuple[Kind | str, ...] = (*Kind, PLAN, EXPERIMENT)
STEPS = ["50:1h", "100"]


class Sample(NamedTuple):
    """A call of an action. {file} in the words is a file with `content`."""

    kind: Kind | str
    name: str
    key: str
    words: str
    arguments: dict[str, Any]
    change: Callable[[], object]
    #: Words that are refused, if any are.
    bad: str = ""
    content: Any = None
    #: What has happened to a plan or an experiment.
    before: tuple[Callable[[str], object], ...] = ()


def undoing(kind: Kind, key: str, written: Callable[[str], object]) -> list[Sample]:
    """The samples of undo and restore of a kind of row, after a change."""
    public = getattr(changes, f"{kind.value}s")

    def restore() -> object:
        return public.restore(key, to=first_version(kind, key))

    return [
        Sample(kind, "undo", key, "", {}, lambda: public.undo(key), "987654321", None, (written,)),
        Sample(
            *(kind, "restore", key, "{first}", {}, restore, "987654321", None, (written,)),
        ),
    ]


def first_version(kind: Kind, key: str) -> int:
    """The version of a row before its change."""
    versions = Change.objects.of_row(kind, kind.row(key).pk).order_by("id")
    return versions.values_list("id", flat=True)[0]


def plan(name: str, *before: Callable[[str], object]) -> Sample:
    """The sample of an action of a plan that has the name of its function."""
    change = getattr(plans, name.replace("-", ""))
    words = "--yes" if name == "delete" else ""
    key = "new_checkout"
    return Sample(PLAN, name, key, words, {}, lambda: change(key), "--no-such-option", None, before)


def experiment(
    name: str,
    words: str,
    arguments: dict[str, Any],
    change: Callable[..., object],
    *before: Callable[[str], object],
    bad: str = "--no-such-option",
) -> Sample:
    """The sample of an action of an experiment."""
    return Sample(
        EXPERIMENT, name, "button", words, arguments, lambda: change("button"), bad, None, before
    )


def start_plan(key: str) -> None:
    plans.start(key, STEPS)


def create_small(key: str) -> None:
    experiments.create(key, traffic_percent=20)


def ship(key: str) -> None:
    experiments.ship(key, "treatment")


SAMPLES = [
    Sample(FLAG, "kill", "new_checkout", "", {}, lambda: changes.flags.disable("new_checkout")),
    Sample(
        FLAG,
        *("on", "summer_banner", "--percent 5", {"percent": 5}),
        lambda: changes.flags.update("summer_banner", {"enabled": True, "rollout_percent": 5}),
        "--percent 101",
    ),
    Sample(FLAG, "off", "new_checkout", "", {}, lambda: changes.flags.disable("new_checkout")),
    Sample(
        FLAG,
        *("rollout", "new_checkout", "50", {"percent": 50}),
        lambda: changes.flags.set_rollout("new_checkout", 50),
        "half",
    ),
    Sample(
        FLAG,
        *("release", "new_checkout", "", {}),
        lambda: changes.flags.release("new_checkout"),
    ),
    Sample(
        FLAG,
        *("rules", "search_v2", "{file} --rollout 5", {"rules": RULES, "rollout": 5}),
        lambda: changes.flags.update("search_v2", {"rules": RULES, "rollout_percent": 5}),
        "[{}]",
        RULES,
    ),
    Sample(
        FLAG,
        *("unit", "new_checkout", "visitor", {"bucket_by": "visitor"}),
        lambda: changes.flags.update("new_checkout", {"bucket_by": "visitor"}),
        "is_staff",
    ),
    Sample(
        FLAG,
        *("allow", "new_checkout", "bob", {"users": [2]}),
        lambda: changes.flags.allow("new_checkout", 2),
        "carol",
    ),
    Sample(
        FLAG,
        *("disallow", "new_checkout", "alice", {"users": [1]}),
        lambda: changes.flags.disallow("new_checkout", 1),
        "carol",
    ),
    Sample(
        FLAG,
        *(
            "details",
            "new_checkout",
            "--owner payments --tag a",
            {"owner": "payments", "tags": ["a"]},
        ),
        lambda: changes.flags.update("new_checkout", {"owner": "payments", "tags": ["a"]}),
        "--kind odd",
    ),
    Sample(
        FLAG,
        *("create", "new_search", "--kind ops --client-side", {"kind": "ops", "client_side": True}),
        lambda: changes.flags.create("new_search", kind="ops", client_side=True),
        "--kind odd",
    ),
    Sample(
        FLAG, "delete", "new_checkout", "--yes", {}, lambda: changes.flags.delete("new_checkout")
    ),
    Sample(
        VALUE,
        *("set", "page_size", "50", {"value": 50}),
        lambda: changes.values.set("page_size", 50),
        "fifty",
    ),
    Sample(
        VALUE,
        *("set-for-everyone", "page_size", "50", {"value": 50}),
        lambda: changes.values.set("page_size", 50, everyone=True),
        "fifty",
    ),
    Sample(
        VALUE,
        *("rules", "page_size", "{file} --bucket-by visitor"),
        {"rules": VALUE_RULES, "bucket_by": "visitor"},
        lambda: changes.values.update("page_size", {"rules": VALUE_RULES, "bucket_by": "visitor"}),
        "[{}]",
        VALUE_RULES,
    ),
    Sample(
        VALUE,
        *("details", "page_size", "--type integer --value 5", {"type": "integer", "value": 5}),
        lambda: changes.values.update("page_size", {"value": 5, "type": "integer"}),
        "--type string",
    ),
    Sample(
        VALUE,
        *("create", "limit", "7 --choices [7,8]", {"value": 7, "choices": [7, 8]}),
        lambda: changes.values.create("limit", 7, choices=[7, 8]),
        "7 --choices [8]",
    ),
    Sample(VALUE, "delete", "page_size", "--yes", {}, lambda: changes.values.delete("page_size")),
    Sample(
        SEGMENT,
        *("conditions", "enterprise", "{file}", {"conditions": [STAFF]}),
        lambda: changes.segments.update("enterprise", {"conditions": [STAFF]}),
        "[]",
        [STAFF],
    ),
    Sample(
        SEGMENT,
        *("details", "enterprise", "All", {"description": "All"}),
        lambda: changes.segments.update("enterprise", {"description": "All"}),
    ),
    Sample(
        SEGMENT,
        *("create", "staff", "{file}", {"conditions": [STAFF]}),
        lambda: changes.segments.create("staff", [STAFF]),
        "[]",
        [STAFF],
    ),
    Sample(
        SEGMENT,
        *("delete", "enterprise", "--yes", {}),
        lambda: changes.segments.delete("enterprise"),
    ),
    *undoing(FLAG, "new_checkout", lambda key: changes.flags.set_rollout(key, 50)),
    *undoing(VALUE, "page_size", lambda key: changes.values.set(key, 50)),
    *undoing(
        SEGMENT, "enterprise", lambda key: changes.segments.update(key, {"description": "One"})
    ),
    Sample(
        PLAN,
        *("create", "new_checkout", "--step 50:1h --step 100", {"steps": STEPS}),
        lambda: plans.create("new_checkout", STEPS),
        "--step five",
    ),
    Sample(
        PLAN,
        *("start", "new_checkout", "--step 50:1h --step 100", {"steps": STEPS}),
        lambda: plans.start("new_checkout", STEPS),
        "--required-users 0",
    ),
    plan("pause", start_plan),
    plan("resume", start_plan, plans.pause),
    plan("roll-back", start_plan),
    plan("delete", plans.create),
    experiment(
        *("create", "--variant a --variant b:3", {"variants": ["a", "b:3"]}),
        lambda key: experiments.create(key, ["a", "b:3"]),
        bad="--traffic-percent 101",
    ),
    experiment(
        *(
            "edit",
            "--description web --planned-units 9",
            {"description": "web", "planned_units": 9},
        ),
        lambda key: edit(key, description="web", planned_units=9),
        experiments.create,
        bad="--guardrail refunds=few",
    ),
    experiment("start", "", {}, experiments.start, experiments.create),
    experiment(
        *("grow", "50 --yes", {"percent": 50}, lambda key: grow(key, 50)),
        *(create_small, experiments.start),
        bad="half --yes",
    ),
    experiment(
        *(
            "add-metric",
            "orders --yes",
            {"metric": "orders"},
            lambda key: add_metric(key, "orders"),
        ),
        *(experiments.create, experiments.start),
        bad="other --yes",
    ),
    experiment("restart", "--yes", {}, experiments.restart, experiments.create, experiments.start),
    experiment(
        *("force", "42 --variant treatment", {"unit": "42", "variant": "treatment"}),
        lambda key: force(key, "42", "treatment"),
        experiments.create,
        bad="42 --variant other",
    ),
    experiment("stop", "", {}, experiments.stop, experiments.create, experiments.start),
    experiment(
        *("ship", "treatment --yes", {"winner": "treatment"}, ship),
        *(experiments.create, experiments.start),
        bad="other --yes",
    ),
    experiment("undo", "--yes", {}, undo, experiments.create, experiments.start, ship),
    experiment("delete", "--yes", {}, experiments.delete, experiments.create),
]
ACTIONS = {(one.kind, one.name): one for kind in KINDS for one in all_actions(kind)}
each_sample = pytest.mark.parametrize(
    "sample",
    SAMPLES,
    indirect=True,
    ids=[f"{ACTIONS[one.kind, one.name].noun}-{one.name}" for one in SAMPLES],
)
#: Those that no action takes back: the text says what to do instead.
WITHOUT_UNDO: dict[tuple[Kind | str, str], str] = {
    (PLAN, "start"): "sets the rollout to 0 %",
    (PLAN, "delete"): "plan again: ",
    (EXPERIMENT, "edit"): "to take it back, set the old values",
    (EXPERIMENT, "grow"): "more traffic cannot be taken back without a restart",
    (EXPERIMENT, "add-metric"): "a metric that was added stays",
    (EXPERIMENT, "restart"): "the buckets before do not return",
    (EXPERIMENT, "delete"): "this cannot be undone",
}


@pytest.fixture(autouse=True)
def metrics(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": METRICS}


@pytest.fixture
def sample(request: pytest.FixtureRequest) -> Sample:
    """A sample, with the plan or the experiment that it needs."""
    drive_recently()
    found: Sample = request.param
    for change in found.before:
        change(found.key)
    if found.name == "restore" and isinstance(found.kind, Kind):
        first = first_version(found.kind, found.key)
        return found._replace(words=str(first), arguments={"version": first})
    return found


def line_of(sample: Sample, words: str, tmp_path: Path) -> str:
    file = tmp_path / "given.json"
    file.write_text(json.dumps(sample.content))
    group = "" if sample.kind is FLAG else f"{ACTIONS[sample.kind, sample.name].noun} "
    return f"{group}{sample.name} {sample.key} {words.replace('{file}', str(file))}"


def result_of(write: Callable[[], object], actor: str = "ana") -> list[Any]:
    """What a write leaves in the tables and in the history; it is rolled back."""
    with transaction.atomic():
        before = newest_entry()
        with acting_as(actor, reason="test"):
            write()
        found = [*rows_now(), *entries_after(before)]
        transaction.set_rollback(True)
    return found


def entries_after(last: int) -> list[Any]:
    entries = Change.objects.filter(id__gt=last).order_by("id")
    return [*entries.values_list("relation", "action", "key", "actor", "reason")]


def rows_now() -> list[Any]:
    """The rows of all kinds, but for their times and numbers."""
    models = (
        *(FeatureFlag, FeatureFlag.allowed_users.through, KeyValueStore, Segment),
        *(Plan, PlanEvent, Experiment, ExperimentEvent),
    )
    unlike = {"id", "plan_id", "experiment_id", "run_id", "salt", "flag_version"}
    unlike |= {"guarded_until", "seconds_left", "frozen_report", "runs_since", "added_metrics"}
    return [
        {
            name: value
            for name, value in row.items()
            if name not in unlike and not (name == "at" or name.endswith("_at"))
        }
        for model in models
        for row in model._base_manager.order_by("pk").values()
    ]


def newest_entry() -> int:
    return Change.objects.order_by("-id").values_list("id", flat=True).first() or 0


def test_every_action_has_a_sample() -> None:
    assert {(one.kind, one.name) for one in SAMPLES} == set(ACTIONS)


@each_sample
def test_action_writes_the_same_wherever_it_is_called(sample: Sample, tmp_path: Path) -> None:
    line = f"{line_of(sample, sample.words, tmp_path)} --as-name ana --reason test"
    untouched = result_of(lambda: None)
    by_changes = result_of(sample.change)
    assert by_changes != untouched
    assert (
        result_of(lambda: ACTIONS[sample.kind, sample.name].write(sample.key, **sample.arguments))
        == by_changes
    )
    assert result_of(lambda: run(line)) == by_changes
    assert result_of(lambda: run(f"{line} --dry-run")) == untouched


@each_sample
@pytest.mark.one_in(4)
def test_action_writes_the_same_if_it_waits(sample: Sample, tmp_path: Path) -> None:
    if not isinstance(sample.kind, Kind):
        return
    User.objects.filter(username="alice").update(is_superuser=True)
    action = ACTIONS[sample.kind, sample.name]
    line = f"{line_of(sample, sample.words, tmp_path)} --as alice --reason test"
    by_changes = result_of(sample.change, actor="1")
    last = newest_entry()
    if not action.may_wait:
        assert run(f"{line} --at {TOMORROW}").status != 0
        return
    asked_for = run(f"{line} --at {TOMORROW}")
    assert asked_for.status == 0, asked_for.err
    assert newest_entry() == last
    make_due()
    run("run-jobs")
    [waiting] = WaitingAction.objects.all()
    assert waiting.state == "done", waiting.result
    assert [*rows_now(), *entries_after(last)] == by_changes


@each_sample
@pytest.mark.one_in(4)
def test_action_is_refused_for_a_missing_row_or_another_version(
    sample: Sample, tmp_path: Path
) -> None:
    action = ACTIONS[sample.kind, sample.name]
    if action.creates and not action.takes_version:
        return
    line = line_of(sample, sample.words, tmp_path)
    assert run(line.replace(sample.key, "gone", 1)).status == 5
    with pytest.raises(FlagstaffError, match="there is no"), transaction.atomic():
        action.write("gone", **sample.arguments)
    if not action.takes_version:
        return
    kind = sample.kind if isinstance(sample.kind, Kind) else Kind.FLAG
    version = version_of(kind, kind.row(sample.key).pk)
    assert version
    assert run(f"{line} --expect-version {version + 1}").status == 4
    with pytest.raises(ConflictError), transaction.atomic():
        action.write(sample.key, **sample.arguments, expect_version=version + 1)
    assert run(f"{line} --expect-version {version} --dry-run").status == 0


@each_sample
@pytest.mark.one_in(4)
def test_action_refuses_bad_input_and_writes_nothing(sample: Sample, tmp_path: Path) -> None:
    line = line_of(sample, sample.bad or "--no-such-option", tmp_path)
    before = result_of(lambda: None)
    ran: list[int] = []
    assert result_of(lambda: ran.append(run(line).status)) == before
    assert ran[0] in {1, 2, 4}


@each_sample
@pytest.mark.one_in(4)
def test_action_says_that_workers_have_it_and_what_takes_it_back(
    sample: Sample, tmp_path: Path
) -> None:
    before = rows_now()
    ran = run(f"{line_of(sample, sample.words, tmp_path)} --wait")
    assert ran.status == 0, ran.err
    # The tests evaluate without workers.
    assert "Evaluations query the database, so the change is in effect at once." in ran.err
    if instead := WITHOUT_UNDO.get((sample.kind, sample.name)):
        assert instead in ran.err
        assert "undo:" not in ran.err
        return
    undone = run(undo_of(ran.err))
    assert undone.status == 0, undone.err
    if isinstance(sample.kind, Kind):
        assert rows_now() == before


def test_several_keys_are_changed_together_or_not_at_all() -> None:
    assert run("details new_checkout dark_mode --owner payments").status == 0
    assert FeatureFlag.objects.filter(owner="payments").count() == 2
    refused = run("details new_checkout gone_1 gone_2 --owner search")
    assert refused.status == 5
    assert "gone_1" in refused.err
    assert "gone_2" in refused.err
    assert not FeatureFlag.objects.filter(owner="search").exists()


def test_examples_of_every_action_are_read() -> None:
    parser = Command().create_parser("manage.py", "flags")
    for action in ACTIONS.values():
        assert action.examples
        for line in action.examples:
            words = shlex.split(line.partition(" <")[0])
            assert parser.parse_args(words).verb == words[0]


def test_action_of_the_documentation_is_a_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "reference" / "api" / "changes.md").read_text()
    page = page.partition("## Actions of your own\n")[2]
    code, *_ = re.findall(r"^```python.*?\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 15
    module = ModuleType("shop_actions")
    monkeypatch.setitem(sys.modules, "shop_actions", module)
    exec(compile(code, "shop_actions", "exec"), vars(module))
    config = apps.get_app_config("flagstaff")
    hooks = {"actions": "shop_actions.ACTIONS"}
    monkeypatch.setattr(config, "flagstaff_hooks", hooks, raising=False)
    [(line, shown)] = re.findall(
        r"^\$ python manage.py flags (.*)\n((?:.*\n)*?)```$", page, re.MULTILINE
    )
    ran = run(line)
    version = flag_version("new_checkout")
    assert (ran.status, ran.err) == (0, shown.replace("17", str(version)))
    assert "hand-over" in run("").out
