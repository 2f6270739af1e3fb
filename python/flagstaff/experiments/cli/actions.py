"""What the actions of the verb `experiment` do."""

from __future__ import annotations

from collections.abc import Callable

from flagstaff.cli.support.change_arguments import require_confirmation
from flagstaff.cli.support.json_argument import read_json_file
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.verb import Options
from flagstaff.cli.support.wait import finish
from flagstaff.experiments import assigning, lifecycle, metric_settings
from flagstaff.experiments.allocation import moved_share
from flagstaff.experiments.lifecycle import ship
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.records import EVENT_COLUMNS, EXPERIMENT_COLUMNS, experiment_record
from flagstaff.experiments.report_json import report
from flagstaff.experiments.report_text import report_lines
from flagstaff.experiments.rows import find


def run_create(options: Options, out: Output) -> None:
    rules = options["rules"]
    experiment = lifecycle.create(
        options["key"],
        options["variants"] or ("control", "treatment"),
        traffic_percent=100 if options["traffic"] is None else options["traffic"],
        bucket_by=options["bucket_by"],
        rules=() if rules is None else read_json_file(rules),
        description=options["description"],
        owner=options["owner"],
    )
    _report_change(experiment, out, options)


def run_weights(options: Options, out: Output) -> None:
    weights = {one.key: one.weight for one in options["variants"] or ()}
    before = find(options["key"]).allocation
    experiment = assigning.set_weights(options["key"], weights, traffic_percent=options["traffic"])
    moved = moved_share(before, experiment.allocation)
    if moved and experiment.phase:
        out.message(
            f"{100 * moved:.4g} % of all units get another variant; those of them that met one "
            "before are left out of the report"
        )
    _report_change(experiment, out, options)


def run_metrics(options: Options, out: Output) -> None:
    guardrails = options["guardrails"]
    experiment = metric_settings.set_metrics(
        options["key"],
        primary=options["primary"],
        others=options["others"],
        guardrails=None if guardrails is None else dict(guardrails),
        method=options["method"],
        planned_units=options["planned_units"],
        min_days=options["min_days"],
        min_units=options["min_units"],
        smallest_effect=options["smallest_effect"],
    )
    _report_change(experiment, out, options)


def changing(change: Callable[[str], Experiment]) -> Callable[[Options, Output], None]:
    def run(options: Options, out: Output) -> None:
        _report_change(change(options["key"]), out, options)

    return run


def run_force(options: Options, out: Output) -> None:
    experiment = assigning.force(options["key"], options["unit"], options["variant"])
    _report_change(experiment, out, options)


def run_ship(options: Options, out: Output) -> None:
    key, winner = options["key"], options["winner"]
    find(key)
    require_confirmation(f"Ship {winner} to all units, and end the experiment {key}?", options, out)
    _report_change(ship(key, winner, with_report=not options["without_report"]), out, options)
    out.message(f"remove {key} from the code: manage.py flags references {key}")


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
    found = report(options["key"])
    if out.is_json:
        out.document(found, indent=None)
        return
    for line in report_lines(found):
        out.line(line)


def _report_change(experiment: Experiment, out: Output, options: Options) -> None:
    record = experiment_record(find(experiment.key))
    out.message(f"{experiment.key}: {record['events'][-1]['message']['text']}")
    finish(record, out, options, written=True)
