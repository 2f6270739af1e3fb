"""The messages of experiments: events, refused changes, and why a report cannot be made."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from flagstaff._words.message import Template
from flagstaff._words.message import marked as _

NONE = Template("none", _("none"))
# Parts that have commas, so these are separated by semicolons.
_PARTS = Template("experiment_parts", "%(left)s; %(right)s")

# Events.

CREATED = Template(
    "experiment_created", _("created with %(variants)s; %(percent)s %% of all units take part")
)
WEIGHTS = Template(
    "experiment_weights", _("weights: %(variants)s; %(percent)s %% of all units take part")
)
STARTED = Template("experiment_started", _("started in phase %(number)s"))
STOPPED = Template("experiment_stopped", _("stopped: every call returns its default"))
SHIPPED = Template("experiment_shipped", _("shipped: all units get %(variant)s"))
SHIPPED_INSTEAD = Template(
    "experiment_shipped_instead",
    _("shipped: all units get %(variant)s instead of %(before)s; the stored report stays"),
)
UNDONE = Template("experiment_undone", _("undone: “%(what)s”; %(now)s"))
RUNS_AGAIN = Template("experiment_runs_again", _("it runs in phase %(number)s, with all exposures"))
RUNS_WITHOUT_REPORT = Template(
    "experiment_runs_without_report",
    _("it runs in phase %(number)s, with all exposures; the stored report was removed"),
)
STOPPED_AGAIN = Template("experiment_stopped_again", _("every call returns its default"))
SHIPPED_AGAIN = Template("experiment_shipped_again", _("all units get %(variant)s"))
SHUFFLED = Template(
    "experiment_shuffled", _("shuffled (%(number)s): the exposures so far are no longer reported")
)
FORCED = Template("experiment_forced", _("override: %(unit)s gets %(variant)s"))
NOT_FORCED = Template("experiment_not_forced", _("override: %(unit)s gets what its bucket says"))
ANALYSIS = Template("experiment_analysis", _("analysis: %(settings)s"))
EDITED = Template("experiment_edited", _("edited: %(changes)s"), separator="; ")
CHANGE = Template("experiment_change", "%(name)s: %(old)s → %(new)s")

# The settings of an experiment.

SETTING = Template("experiment_setting", "%(name)s %(value)s")
NAMES = {
    "description": Template("experiment_description", _("description")),
    "owner": Template("experiment_owner", _("owner")),
    "variants": Template("experiment_variants", _("variants")),
    "traffic_percent": Template("experiment_traffic_percent", _("traffic percent")),
    "bucket_by": Template("experiment_bucket_by", _("bucket by")),
    "rules": Template("experiment_rules", _("rules")),
    "primary_metric": Template("experiment_primary_metric", _("primary metric")),
    "other_metrics": Template("experiment_other_metrics", _("other metrics")),
    "guardrails": Template("experiment_guardrails", _("guardrails")),
    "method": Template("experiment_method", _("method")),
    "planned_units": Template("experiment_planned_units", _("planned units")),
    "min_days": Template("experiment_min_days", _("min days")),
    "min_units": Template("experiment_min_units", _("min units")),
    "smallest_effect": Template("experiment_smallest_effect", _("smallest effect")),
}
METHODS = {
    "sequential": Template("experiment_sequential", _("sequential")),
    "fixed": Template("experiment_fixed", _("fixed")),
}
GUARDRAIL = Template("experiment_guardrail", "%(metric)s (%(tolerated)s)")

# Refused because of the state.

STATES = {
    "draft": Template("experiment_is_draft", _("draft")),
    "running": Template("experiment_is_running", _("running")),
    "stopped": Template("experiment_is_stopped", _("stopped")),
    "shipped": Template("experiment_is_shipped", _("shipped")),
}
CANNOT_START = Template(
    "experiment_cannot_start", _("%(key)s cannot be started, because it is %(state)s")
)
CANNOT_EDIT = Template(
    "experiment_cannot_edit",
    _(
        "%(key)s cannot be edited, because it is %(state)s. Its weights and traffic can be "
        "changed, and metrics added; for anything else, create another experiment"
    ),
)
CANNOT_UNDO = Template(
    "experiment_cannot_undo",
    _(
        "%(key)s cannot be undone: only a stop or a ship can, but the last change is “%(what)s”. "
        "Start, stop or ship it instead"
    ),
)
CANNOT_CHANGE = Template(
    "experiment_cannot_change", _("%(key)s cannot be changed, because it is %(state)s")
)
CANNOT_SHUFFLE = Template(
    "experiment_cannot_shuffle", _("%(key)s cannot be shuffled, because it is %(state)s")
)
CANNOT_SHIP = Template(
    "experiment_cannot_ship", _("%(key)s cannot be shipped, because it is %(state)s")
)
CANNOT_DELETE = Template(
    "experiment_cannot_delete", _("%(key)s cannot be deleted, because it is %(state)s")
)
EXPOSURES_DELETED = Template(
    "experiment_exposures_deleted",
    _("%(key)s cannot be started, because its exposures were deleted; create another one"),
)
REPORT_STORED = Template(
    "experiment_report_stored",
    _(
        "%(key)s cannot be started, because it was shipped and its report is stored; undo the "
        "ship, ship a variant, or create another one"
    ),
)
REPORT_KEEPS = Template(
    "experiment_report_keeps",
    _(
        "%(key)s cannot be changed, because its report is stored; undo what was done last, or "
        "create another one"
    ),
)
FORCED_VARIANT = Template(
    "experiment_forced_variant",
    _("%(unit)s is forced to %(variant)s; keep this variant, or remove the override"),
)
VARIANT_ENDS = Template(
    "experiment_variant_ends",
    _(
        "%(key)s has started, so the weight of %(variant)s cannot become 0: all units that met it "
        "would be left out of the report. Stop the experiment, or ship a variant"
    ),
)
SETTING_IS_FIXED = Template(
    "experiment_setting_is_fixed",
    _(
        "%(key)s has started, so its %(setting)s cannot change: a change after a look would make "
        "results invalid. Metrics can be added to those that it has"
    ),
)
REPORT_NOT_STORED = Template(
    "experiment_report_not_stored",
    _(
        "the report of %(key)s cannot be stored: %(why)s. Correct the metric, or ship without a "
        "report: with_report=False, or --without-report"
    ),
)
SOME_NOT_PRUNED = Template(
    "experiment_some_not_pruned", _("%(count)s exposures were deleted, but %(problems)s")
)

# Refused because of what was given.

UNKNOWN = Template(
    "experiment_unknown", _("there is no experiment %(key)s; create it: %(command)s")
)
EXISTS = Template("experiment_exists", _("there is an experiment %(key)s already"))
KEY_OF_A_FLAG = Template(
    "experiment_key_of_a_flag",
    _("%(key)s is the key of a flag; choose another key for the experiment"),
)
KEY_OF_A_VALUE = Template(
    "experiment_key_of_a_value",
    _("%(key)s is the key of a value; choose another key for the experiment"),
)
VARIANT_TEXT = Template(
    "variant_text", _('"%(text)s" is no variant; write a key and a weight, such as "treatment:3"')
)
VARIANT_COUNT = Template(
    "variant_count",
    _("the experiment has %(count)s variants; write 2 to %(limit)s, the control first"),
)
VARIANT_TWICE = Template("variant_twice", _('two variants have the key "%(key)s"; rename one'))
VARIANT_KEY = Template("variant_key", _("variant %(key)s: %(why)s"))
VARIANT_WEIGHT = Template(
    "variant_weight",
    _("the weight of %(key)s is %(value)s; write a whole number from 0 to %(limit)s"),
)
NO_WEIGHT = Template(
    "variant_no_weight", _("all weights are 0; give at least one variant a weight")
)
NO_BUCKET = Template(
    "variant_no_bucket",
    _("%(key)s would get no bucket (less than 0.01 %%); raise its weight or the traffic"),
)
VARIANT_UNKNOWN = Template(
    "variant_unknown", _("%(key)s has no variant %(variant)s; choose one of %(keys)s")
)
TRAFFIC = Template(
    "experiment_traffic", _("the traffic is %(value)s %%; write a whole number from 0 to 100")
)
RULE_PERCENT = Template(
    "experiment_rule_percent",
    _(
        "rule %(number)s has a rollout of %(percent)s %%; a rule of an experiment includes (100) "
        "or excludes (0). Set traffic_percent for a share of all"
    ),
)
UNIT = Template(
    "experiment_unit",
    _("%(unit)s is no unit; write 1 to %(limit)s bytes, such as the primary key of a user"),
)
METRIC_ROLES = Template("metric_roles", _("the metric %(metric)s has two roles; give it one"))
METRIC_REFUSED = Template("metric_refused", "%(metric)s: %(why)s")
TOLERATED_HARM = Template(
    "metric_tolerated_harm",
    _("the tolerated harm of %(metric)s is %(value)s; write a number of at least 0"),
)
SMALLEST_EFFECT = Template(
    "metric_smallest_effect", _("the smallest effect is %(value)s; write a number above 0")
)
METHOD = Template("experiment_method_unknown", _("the method is %(value)s; choose one of %(keys)s"))
WHOLE_NUMBER = Template(
    "experiment_whole_number",
    _("%(name)s is %(value)s; write a whole number from %(low)s to %(high)s"),
)

# Why a metric has no figures, or a report cannot be made.

METRIC_FAILS = Template("metric_fails", _("the metric %(metric)s fails: %(error)s"))
METRIC_UNKNOWN = Template(
    "metric_unknown", _('FLAGSTAFF["METRICS"] has no metric %(metric)s; it has %(metrics)s')
)
METRIC_TYPE = Template(
    "metric_type",
    _(
        '%(setting)s is "%(path)s", which is no metric; write a Conversion, Mean, Ratio or '
        "Retention of flagstaff.experiments.metrics"
    ),
)
METRIC_KIND = Template("metric_kind", _("%(type)s is not a known kind of metric"))
METRIC_UNIT = Template(
    "metric_unit",
    _(
        "the metric counts by %(unit)s, but the unit of %(key)s is %(bucket_by)s; use a metric "
        'with unit="%(bucket_by)s"'
    ),
)
METRIC_VALUE = Template(
    "metric_value", _("a value is NaN or infinite; leave such rows out of the source")
)
EXCLUDED_UNITS_FAIL = Template(
    "excluded_units_fail", _("a query of EXCLUDED_UNITS fails: %(error)s")
)
NO_FUNCTION = Template(
    "excluded_units_no_function", _('%(setting)s is "%(path)s", which is no function')
)
NOT_IMPORTED = Template(
    "source_not_imported", _('%(setting)s is "%(path)s", which cannot be imported: %(error)s')
)
METRIC_SOURCE = Template("source_of_a_metric", _("the source of a metric"))
SOURCE_UNREADABLE = Template("source_unreadable", _("%(source)s cannot be read: %(why)s"))
EMPTY_QUERYSET = Template("source_empty", _("it is an empty QuerySet"))
SOURCE_FAILS = Template("source_fails", _("%(source)s fails: %(error)s"))
SOURCE_TYPE = Template("source_type", _("%(source)s returned %(type)s; return a QuerySet or Sql"))
SOURCE_DATABASE = Template(
    "source_database",
    _(
        '%(source)s reads the database "%(database)s", but exposures are in "%(expected)s"; it '
        "must read the same database"
    ),
)
SOURCE_PERCENT = Template(
    "source_percent", _("%(source)s has a single %% in its SQL; write %%%% for a percent sign")
)
SOURCE_PARAMS = Template(
    "source_params", _("%(source)s has %(placeholders)s placeholders, but %(params)s params")
)
SOURCE_DATE = Template(
    "source_date",
    _(
        "the time of %(source)s is a date, so events on the day of an exposure would be missing; "
        "use a DateTimeField"
    ),
)


def joined(parts: Iterable[str]) -> str:
    """Returns the parts, at least one, separated by semicolons."""
    return reduce(lambda left, right: _PARTS(left=left, right=right), parts)
