"""The verbs `experiment`, with list, show, report and the actions, and `sample-size`."""

from __future__ import annotations

from functools import partial

from django.utils.translation import override

from flagstaff._engine.forced_off import NOTICE
from flagstaff._words.text import some
from flagstaff.cli.action_verbs import action_verbs
from flagstaff.cli.options import add_key
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options, Topic, verb, verb_group
from flagstaff.conf import conf
from flagstaff.experiments.actions import EXPERIMENT
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.records import (
    EVENT_COLUMNS,
    EXPERIMENT_COLUMNS,
    LIST_COLUMNS,
    experiment_record,
)
from flagstaff.experiments.report_text import report_lines
from flagstaff.experiments.reporting import report_of
from flagstaff.experiments.rows import find
from flagstaff.experiments.sample_size import SAMPLE_SIZE

_add_experiment = partial(add_key, thing=EXPERIMENT)


@verb("experiment list", "experiment list --json")
def list_(_options: Options, out: Output) -> None:
    """List all experiments."""
    rows = Experiment.objects.using(conf.database).order_by("-id")
    records = [experiment_record(row, with_events=False) for row in rows]
    if forced := [record["key"] for record in records if record["forced_off"]]:
        out.message(f"{NOTICE}: {some(forced)}")
    out.records(LIST_COLUMNS, records, empty="there is no experiment")


@verb(
    "experiment show checkout_button",
    "experiment show checkout_button --json",
    arguments=(_add_experiment,),
)
def show(options: Options, out: Output) -> None:
    """Show an experiment and its events."""
    record = experiment_record(find(options["key"]))
    out.record(EXPERIMENT_COLUMNS, record)
    if not out.is_json:
        out.line("")
        out.records(EVENT_COLUMNS, record["events"])


@verb(
    "experiment report checkout_button",
    "experiment report checkout_button --json",
    arguments=(_add_experiment,),
)
def report(options: Options, out: Output) -> None:
    """Print the verdict, the results of the metrics, and the counts."""
    found = report_of(find(options["key"]))
    if out.is_json:
        out.document(found, indent=None)
        return
    # With the numbers of English, too.
    with override("en"):
        for line in report_lines(found):
            # A blank that keeps a sign beside its number is for pages.
            out.line(line.replace("\N{NO-BREAK SPACE}", " "))


VERBS = (
    verb_group(
        EXPERIMENT,
        "show and change experiments",
        *(list_, show, report),
        *action_verbs(EXPERIMENT),
        topic=Topic.ROLLOUTS,
    ),
    SAMPLE_SIZE,
)
