"""Why `flagstaff.changes` refuses a change, and what to do next."""

from __future__ import annotations

from flagstaff._words.message import Template
from flagstaff._words.message import marked as _
from flagstaff.history.kinds import Kind

# Fields.
FIELD_PROBLEM = Template("field_problem", _("%(field)s: %(problem)s"))
PROBLEMS = Template("field_problems", "%(problems)s", separator="; ")
UNKNOWN_FIELD = Template("unknown_field", _("a %(model)s has no field %(name)s to change"))
NULL = Template("field_null", _("must not be null"))
JSON_NULL = Template(
    "field_json_null",
    _('must not be null; write JSON, such as "stripe", 25 or [], or delete the row'),
)
NO_DATE = Template("field_no_date", _("this is not a date; pass a datetime.date"))
NO_TYPE = Template("unknown_value_type", _("use one of %(types)s"))
NOT_JSON = Template("value_not_json", _("JSON cannot hold this value: %(reason)s"))
NOT_DECODABLE = Template(
    "value_not_decodable", _("get_value() cannot return this value: it %(reason)s")
)
TOO_DEEP = Template("value_too_deep", _("is nested too deeply"))
REJECTED = Template("database_rejection", _("the database rejected the change: %(reason)s"))
# Keys.
EXISTS = {
    Kind.FLAG: Template(
        "flag_exists", _("a flag %(key)s already exists; change it, or use another key")
    ),
    Kind.VALUE: Template(
        "value_exists", _("a value %(key)s already exists; change it, or use another key")
    ),
    Kind.SEGMENT: Template(
        "segment_exists", _("a segment %(key)s already exists; change it, or use another key")
    ),
}

# Versions.
VERSION_CONFLICT = Template(
    "version_conflict", _("%(key)s has %(present)s, but version %(expected)s was expected")
)
VERSION_CONFLICT_WITH_EVENTS = Template(
    "version_conflict_with_events",
    _(
        "%(key)s has %(present)s, but version %(expected)s was expected; changes after version "
        "%(seen)s: %(events)s"
    ),
    separator="; ",
)
VERSION = Template("version", _("version %(number)s"))
NO_VERSION = Template("no_version", _("no version"))
EVENT = Template("event", _("%(actor)s at %(time)s: %(change)s"))
EXPECT_PRESENT = Template(
    "expect_present_version", _("to change it anyway, expect version %(version)s")
)
FIELDS_CHANGED = Template(
    "fields_changed", _("%(key)s has changed since you read it: %(fields)s; read it again")
)

# Restore.
NOT_EXISTENT_THEN = Template(
    "not_existent_at_version",
    _("%(key)s did not exist at version %(version)s; to remove it, use %(command)s"),
)
ONLY_A_DIGEST = Template(
    "only_a_digest",
    _(
        "the history stores only a digest of %(key)s, because it is secret; enter the value again "
        "with %(command)s"
    ),
)
UNREADABLE = Template(
    "old_value_unreadable",
    _(
        "Python cannot decode the value that %(key)s had, so it cannot be restored; write it with "
        "SQL"
    ),
)

# Segments.
SEGMENT_IN_USE = Template(
    "segment_in_use",
    _("the segment %(key)s is used by the rules of %(flags)s; change these rules first"),
)
SEGMENT_KEY_IS_FIXED = Template(
    "segment_key_is_fixed",
    _("the key of a segment cannot be changed, because rules name it; create another segment"),
)
MISSING_SEGMENT = Template(
    "missing_segment",
    _("%(place)s names the segment %(key)s, which does not exist; %(advice)s"),
)
UNDO_DELETION = Template("undo_deletion", _('undo its deletion first with "%(command)s"'))
CREATE_FIRST = Template("create_first", _('create it first with "%(command)s"'))
#: The sentence in the place of numbers.
USERS_NOT_COUNTED = Template("impact_not_counted", _("The users cannot be counted."))
