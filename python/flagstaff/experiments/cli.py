"""The verbs `experiment`, with list, show, report and the actions, and `sample-size`."""

from __future__ import annotations

from django.core.management.base import CommandParser

from flagstaff._engine.forced_off import NOTICE
from flagstaff._words.text import some
from flagstaff.cli.support.action_verbs import action_verbs
from flagstaff.cli.support.change_arguments import add_key
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.pruning import add_prune, run_prune
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb, verb_group
from flagstaff.conf import conf
from flagstaff.experiments.actions import EXPERIMENT
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.records import (
    EVENT_COLUMNS,
    EXPERIMENT_COLUMNS,
    LIST_COLUMNS,
    experiment_record,
)
from flagstaff.experiments.report_json import report_as_json, report_of
from flagstaff.experiments.report_text import report_lines
from flagstaff.experiments.retention import prune
from flagstaff.experiments.rows import find
from flagstaff.experiments.sample_size import SAMPLE_SIZE


def _list(options: Options, out: Output) -> None:
    if options["prune"]:
        run_prune(options, out, prune, "exposure")
        return
    rows = Experiment.objects.using(conf.database).order_by("-id")
    records = [experiment_record(row, with_events=False) for row in rows]
    if not records:
        out.message("there is no experiment")
    if forced := [record["key"] for record in records if record["forced_off"]]:
        out.message(f"{NOTICE}: {some(forced)}")
    out.records(LIST_COLUMNS, records)


def _add_experiment_key(parser: CommandParser) -> None:
    add_key(parser, EXPERIMENT)


def _show(options: Options, out: Output) -> None:
    record = experiment_record(find(options["key"]))
    out.record(EXPERIMENT_COLUMNS, record)
    if not out.is_json:
        out.line("")
        out.records(EVENT_COLUMNS, record["events"])


def _report(options: Options, out: Output) -> None:
    found = report_of(find(options["key"]))
    if out.is_json:
        out.document(report_as_json(found), indent=None)
        return
    for line in report_lines(found):
        out.line(line)


_READING = (
    Verb(
        name="list",
        help="list all experiments, or delete old exposures of those that have ended",
        examples=("experiment list --json", "experiment list --prune --older-than 365"),
        add_arguments=add_prune,
        run=_list,
    ),
    Verb(
        name="show",
        help="show an experiment and its events",
        examples=("experiment show checkout_button", "experiment show checkout_button --json"),
        add_arguments=_add_experiment_key,
        run=_show,
    ),
    Verb(
        name="report",
        help="print the verdict, the results of the metrics, and the counts",
        examples=("experiment report checkout_button", "experiment report checkout_button --json"),
        add_arguments=_add_experiment_key,
        run=_report,
    ),
)
VERBS = (
    verb_group(
        EXPERIMENT,
        "show and change experiments",
        *_READING,
        *action_verbs(EXPERIMENT),
        topic=Topic.ROLLOUTS,
    ),
    SAMPLE_SIZE,
)
