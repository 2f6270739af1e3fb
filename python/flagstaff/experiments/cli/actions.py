"""What the actions of the verb `experiment` do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flagstaff._engine.forced_off import NOTICE
from flagstaff.actions.arguments import read_json_file
from flagstaff.changes.changed import command_line
from flagstaff.cli.asking import require_confirmation
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options
from flagstaff.cli.wait import finish
from flagstaff.experiments import assigning, editing, lifecycle, metric_settings
from flagstaff.experiments.allocation import moved_share
from flagstaff.experiments.lifecycle import ship
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.records import EVENT_COLUMNS, EXPERIMENT_COLUMNS, experiment_record
from flagstaff.experiments.report_json import report_as_json, report_of
from flagstaff.experiments.report_text import report_lines
from flagstaff.experiments.rows import find, newest_event
from flagstaff.experiments.undoing import last_decision, undo


def run_create(options: Options, out: Output) -> None:
    rules = options["rules"]
    experiment = lifecycle.create(
        options["key"],
        options["variants"] or ("control", "treatment"),
        traffic_percent=100 if options["traffic"] is None else options["traffic"],
        bucket_by=options["bucket_by"] or "user",
        rules=() if rules is None else read_json_file(rules),
        description=options["description"] or "",
        owner=options["owner"] or "",
    )
    _report_change(experiment, out, options)


def run_edit(options: Options, out: Output) -> None:
    rules = options["rules"]
    edit = partial(
        editing.edit,
        description=options["description"],
        owner=options["owner"],
        variants=options["variants"],
        traffic_percent=options["traffic"],
        bucket_by=options["bucket_by"],
        rules=None if rules is None else read_json_file(rules),
        **_analysis(options),
    )
    changing(edit)(options, out)


def run_weights(options: Options, out: Output) -> None:
    weights = {one.key: one.weight for one in options["variants"] or ()}
    before = find(options["key"]).allocation
    last = _last_event(options)
    experiment = assigning.set_weights(options["key"], weights, traffic_percent=options["traffic"])
    moved = moved_share(before, experiment.allocation)
    if moved and experiment.phase:
        out.message(
            f"{100 * moved:.4g} % of all units get another variant; those of them that met one "
            "before are left out of the report"
        )
    _report_change(experiment, out, options, last)


def run_metrics(options: Options, out: Output) -> None:
    changing(partial(metric_settings.set_metrics, **_analysis(options)))(options, out)


def _analysis(options: Options) -> dict[str, Any]:
    guardrails = options["guardrails"]
    names = ("primary", "others", "method", "planned_units", "min_days", "min_units")
    return {
        **{name: options[name] for name in (*names, "smallest_effect")},
        "guardrails": None if guardrails is None else dict(guardrails),
    }


def changing(change: Callable[[str], Experiment]) -> Callable[[Options, Output], None]:
    def run(options: Options, out: Output) -> None:
        last = _last_event(options)
        _report_change(change(options["key"]), out, options, last)

    return run


def run_force(options: Options, out: Output) -> None:
    experiment = assigning.force(options["key"], options["unit"], options["variant"])
    _report_change(experiment, out, options)


def run_shuffle(options: Options, out: Output) -> None:
    key = options["key"]
    find(key)
    question = (
        f"Give all units of the experiment {key} other buckets? The exposures so far are no "
        "longer reported."
    )
    require_confirmation(question, options, out)
    _report_change(assigning.shuffle(key), out, options)


def run_ship(options: Options, out: Output) -> None:
    key, winner = options["key"], options["winner"]
    last = _last_event(options)
    question = f"Ship {winner} to all units, and end the experiment {key}?"
    if shipped := find(key).winner:
        question = f"Ship {winner} to all units instead of {shipped}? The stored report stays."
    require_confirmation(question, options, out)
    experiment = ship(key, winner, with_report=not options["without_report"])
    _report_change(experiment, out, options, last)
    out.message(f"remove {key} from the code: {command_line('references', key)}")


def run_undo(options: Options, out: Output) -> None:
    key = options["key"]
    decision = last_decision(find(key))
    question = f"Undo “{decision.message}” of {key}? It is {decision.before['state']} again."
    require_confirmation(question, options, out)
    _report_change(undo(key), out, options)


def run_delete(options: Options, out: Output) -> None:
    key = options["key"]
    find(key)
    require_confirmation(
        f"Delete the experiment {key} with its exposures and events?", options, out
    )
    lifecycle.delete(key)
    out.message(f"{key}: deleted; every call returns its default")
    finish({"key": key, "deleted": True}, out, options, written=True)


def run_show(options: Options, out: Output) -> None:
    record = experiment_record(find(options["key"]))
    out.record(EXPERIMENT_COLUMNS, record)
    if not out.is_json:
        out.line("")
        out.records(EVENT_COLUMNS, record["events"])


def run_report(options: Options, out: Output) -> None:
    found = report_of(find(options["key"]))
    if out.is_json:
        out.document(report_as_json(found), indent=None)
        return
    for line in report_lines(found):
        out.line(line)


def _last_event(options: Options) -> int:
    """Returns the newest event before a change, to see whether something was changed."""
    return newest_event(find(options["key"]))


def _report_change(
    experiment: Experiment, out: Output, options: Options, last_event: int = 0
) -> None:
    record = experiment_record(find(experiment.key))
    is_written = newest_event(experiment) != last_event
    text = record["events"][-1]["text"] if is_written else "nothing had to be changed"
    out.message(f"{experiment.key}: {text}")
    if record["forced_off"]:
        out.message(NOTICE)
    finish(record, out, options, written=is_written)
