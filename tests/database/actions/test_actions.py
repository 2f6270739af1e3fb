"""Each action does the same in a terminal, called from Python, and by `flagstaff.changes`."""

import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from flagstaff.actions import Kind, all_actions
from flagstaff.actions.table import Run
from flagstaff.exceptions import ConflictError, FlagstaffError
from flagstaff.history import flag_version
from flagstaff.history.log import version_of
from flagstaff.management.commands.flags import Command
from flagstaff.models import FeatureFlag, WaitingAction
from flagstaff.waiting.stored import KIND as WAITING
from tests.support.history import newest_entry
from tests.support.pages import code_of
from tests.support.samples import (
    ACTIONS,
    EXPERIMENT,
    PLAN,
    SAMPLES,
    WITHOUT_UNDO,
    Sample,
    each_sample,
    entries_after,
    result_of,
    rows_now,
)
from tests.support.shop import Shop
from tests.support.terminals import refused, run, undo_of
from tests.support.waiting import TOMORROW, make_due

pytestmark = pytest.mark.usefixtures("open_shop", "plain_terminal", "metrics")


def test_every_action_has_a_sample() -> None:
    assert {(sample.kind, sample.name) for sample in SAMPLES} == set(ACTIONS)


def test_every_action_of_an_app_has_a_look() -> None:
    """Without one, its write would be called as a preview."""
    actions = [action for kind in (PLAN, EXPERIMENT, WAITING) for action in all_actions(kind)]
    assert [action.name for action in actions if action.look is None] == []


def test_actions_that_can_wait_are_those_of_the_documentation() -> None:
    can_wait = {(kind, name) for (kind, name), action in ACTIONS.items() if action.can_wait}
    assert {name for kind, name in can_wait if kind == PLAN} == {"start", "resume"}
    of_experiments = {"start", "stop", "grow", "restart", "ship"}
    assert {name for kind, name in can_wait if kind == EXPERIMENT} == of_experiments
    cannot = {name for kind, name in ACTIONS.keys() - can_wait if isinstance(kind, Kind)}
    assert cannot == {"kill", "undo", "restore"}


@each_sample
@pytest.mark.one_in(4)
def test_action_writes_the_same_wherever_it_is_called(sample: Sample, tmp_path: Path) -> None:
    line = f"{sample.line(sample.words, tmp_path)} --as-name ana --reason test"
    untouched = result_of(lambda: None)
    by_changes = result_of(lambda: sample.change(sample.key))
    assert by_changes != untouched
    assert result_of(lambda: sample.action.write(sample.key, **sample.arguments)) == by_changes
    assert result_of(lambda: run(line)) == by_changes
    assert result_of(lambda: run(f"{line} --dry-run")) == untouched


@each_sample
@pytest.mark.one_in(4)
def test_action_writes_the_same_if_it_waits(sample: Sample, tmp_path: Path) -> None:
    User.objects.filter(username="alice").update(is_superuser=True)
    line = f"{sample.line(sample.words, tmp_path)} --as alice --reason test"
    by_changes = result_of(lambda: sample.change(sample.key), actor="1")
    last = newest_entry()
    asked_for = run(f"{line} --at {TOMORROW}")
    if not sample.action.can_wait:
        assert asked_for.status != 0
        return
    assert asked_for.status == 0, asked_for.err
    assert newest_entry() == last
    make_due()
    run("run-jobs")
    [waiting] = WaitingAction.objects.all()
    assert waiting.state == "done", waiting.result
    assert [*rows_now(), *entries_after(last)] == by_changes


@each_sample
@pytest.mark.one_in(4)
def test_action_is_refused_for_bad_input_a_missing_row_or_another_version_and_writes_nothing(
    sample: Sample, tmp_path: Path
) -> None:
    action, before = sample.action, (rows_now(), newest_entry())
    assert run(sample.line(sample.bad, tmp_path)).status in {1, 2, 4}
    line = sample.line(sample.words, tmp_path)
    if not action.creates or action.takes_version:
        assert run(line.replace(sample.key, "gone", 1)).status == 5
        with pytest.raises(FlagstaffError, match="there is no"), transaction.atomic():
            action.write("gone", **sample.arguments)
    if action.takes_version:
        kind = sample.kind if isinstance(sample.kind, Kind) else Kind.FLAG
        version = version_of(kind, kind.row(sample.key).pk)
        assert version
        assert run(f"{line} --expect-version {version + 1}").status == 4
        with pytest.raises(ConflictError), transaction.atomic():
            action.write(sample.key, **sample.arguments, expect_version=version + 1)
        assert run(f"{line} --expect-version {version} --dry-run").status == 0
    assert (rows_now(), newest_entry()) == before


@each_sample
@pytest.mark.one_in(4)
def test_action_says_that_workers_have_it_and_what_takes_it_back(
    sample: Sample, tmp_path: Path
) -> None:
    before = rows_now()
    ran = run(f"{sample.line(sample.words, tmp_path)} --wait")
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
    refused("details new_checkout gone_1 gone_2 --owner search", 5, "gone_1", "gone_2")
    assert FeatureFlag.objects.filter(owner="payments").count() == 2


@pytest.mark.parametrize("count", [2, 30])
def test_rows_of_an_action_are_locked_and_written_together(count: int) -> None:
    keys = [f"off_{number}" for number in range(count)]
    FeatureFlag.objects.bulk_create(FeatureFlag(key=key, rollout_percent=5) for key in keys)
    with CaptureQueriesContext(connection) as queries:
        assert run(f"on {' '.join(keys)} --yes").status == 0
    statements = [query["sql"] for query in queries]
    assert len([text for text in statements if 'UPDATE "flagstaff_featureflag"' in text]) == 1
    assert len([text for text in statements if "FOR UPDATE" in text]) == 1
    assert FeatureFlag.objects.filter(key__in=keys, enabled=True).count() == count
    versions = {version for key in keys if (version := flag_version(key))}
    assert len(versions) == count


def test_row_without_its_key_in_the_run_is_not_written(shop: Shop) -> None:
    flags = [shop.flag(key) for key in ("new_checkout", "beta_reviews", "summer_banner")]
    action = ACTIONS[Kind.FLAG, "rollout"]
    before = flags[2].rollout_percent
    written = Run(action, [flag.key for flag in flags[:2]], flags, {"percent": 7}).write({})
    assert [change.written for change in written] == [True, True]
    flags[2].refresh_from_db()
    assert flags[2].rollout_percent == before != 7


def test_kill_of_several_flags_cancels_what_waits_for_one_that_is_off(shop: Shop) -> None:
    shop.user("ana")
    waiting = shop.waiting("on summer_banner")
    shop.flag("new_checkout")
    assert run("kill new_checkout summer_banner").status == 0
    waiting.refresh_from_db()
    assert waiting.state == "cancelled"
    assert not FeatureFlag.objects.filter(key="new_checkout", enabled=True).exists()


def test_examples_of_every_action_are_read() -> None:
    parser = Command().create_parser("manage.py", "flags")
    for action in ACTIONS.values():
        assert action.examples
        for line in action.examples:
            words = shlex.split(line.partition(" <")[0])
            assert parser.parse_args(words).verb == words[0]


def test_action_of_the_documentation_is_a_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = code_of("reference/api/changes.md", "py", "# shop/actions.py")
    [example] = code_of("reference/api/changes.md", "text", "flags hand-over")
    assert len([line for line in code.splitlines() if line]) <= 16
    module = ModuleType("shop_actions")
    monkeypatch.setitem(sys.modules, "shop_actions", module)
    exec(compile(code, "shop_actions", "exec"), vars(module))
    config = apps.get_app_config("flagstaff")
    hooks = {"actions": "shop_actions.ACTIONS"}
    monkeypatch.setattr(config, "flagstaff_hooks", hooks, raising=False)
    line, _, shown = example.removeprefix("$ python manage.py flags ").partition("\n")
    ran = run(line)
    version = flag_version("new_checkout")
    assert (ran.status, ran.err) == (0, shown.replace("17", str(version)))
    assert "hand-over" in run("").out
