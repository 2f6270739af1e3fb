"""What is wrong with a file, and what to do. No message contains a value: it may be secret."""

from __future__ import annotations

from flagstaff._words.message import Template
from flagstaff._words.message import marked as _
from flagstaff.history.kinds import Kind

# The file.
INVALID_JSON = Template("invalid_json", _("invalid JSON: %(reason)s"))
FILE_TOO_LARGE = Template(
    "file_too_large", _("the file is larger than %(limit)s bytes; import it in parts")
)
FILE_TOO_DEEP = Template("file_too_deep", _("the file is nested deeper than %(limit)s levels"))
FILE_NUMBER_TOO_LONG = Template(
    "file_number_too_long", _("the file has a number with too many digits; write it as a text")
)
NEWER_FORMAT = Template(
    "file_of_newer_format",
    _("the file has format version %(number)s, but this flagstaff reads only version %(known)s"),
)
NO_EXPORT = Template(
    "file_no_export", _('not an export of flagstaff: "%(header)s" is missing at the top level')
)
OTHER_TOOL = Template(
    "file_of_other_tool",
    _(
        'this is a file of %(tool)s, which has another format; see "%(page)s" in the documentation '
        "to convert it"
    ),
)

# A field of the file.
NO_PART = Template("not_part_of_format", _("is not part of this format"))
TOO_DEEP = Template("nested_too_deeply", _("is nested deeper than %(limit)s levels"))
NO_NUMBER = Template("no_json_number", _("is not a valid JSON number"))
DUPLICATE_KEY = Template("duplicate_key", _("is a duplicate key"))
NOT_STORABLE = Template(
    "not_storable",
    _("contains a NUL character or half of a surrogate pair, which PostgreSQL cannot store"),
)
NO_SECTION = Template("no_section", _("must be a mapping of keys to fields"))
NO_FIELDS = Template("no_fields", _("must be a mapping of fields to values"))
NO_BOOLEAN = Template("no_boolean", _("must be true or false"))
NO_INTEGER = Template(
    "no_version_number", _("must be an integer, as `export --versions` writes it")
)
NO_USERS = Template("no_user_list", _("must be a list of users"))
NO_USER = Template("no_user_entry", _('must be a username, or a primary key such as {"pk": 42}'))
USER_TWICE = Template("user_twice", _("lists %(user)s twice"))
WRONG_TYPE = Template("wrong_field_type", _("must be %(expected)s, not %(present)s"))
STRING_OR_NUMBER = Template("type_string_or_number", _("a string or a number"))()
TYPE_NAMES = {
    bool: Template("type_bool", _("a boolean"))(),
    str: Template("type_str", _("a string"))(),
    list: Template("type_list", _("a list"))(),
    dict: Template("type_mapping", _("a mapping"))(),
}
NO_FIELD = {
    Kind.FLAG: Template("no_flag_field", _("a flag has no such field")),
    Kind.VALUE: Template("no_value_field", _("a value has no such field")),
    Kind.SEGMENT: Template("no_segment_field", _("a segment has no such field")),
}
NO_COLUMN = {
    Kind.FLAG: Template(
        "no_field_of_flag_model",
        _(
            "the flag model of this project has no field %(name)s; add it, or remove it from the "
            "file"
        ),
    ),
    Kind.VALUE: Template(
        "no_field_of_value_model",
        _(
            "the value model of this project has no field %(name)s; add it, or remove it from the "
            "file"
        ),
    ),
}
MASKED = Template(
    "masked_value",
    _("is masked, and there is no such value in the database; write the real %(field)s"),
)
REQUIRED = {
    Kind.VALUE: Template("required_for_value", _("is required for a new value")),
    Kind.SEGMENT: Template("required_for_segment", _("is required for a new segment")),
}

# Beside the database.
NO_SEGMENT_TABLE = Template(
    "no_segment_table",
    _('this database has no table of segments; run "manage.py migrate", or remove the section'),
)
PARTIAL_FILE = Template(
    "partial_file",
    _("the file was exported with some keys only; import it without --delete-missing"),
)
SAME_KEY = Template(
    "rows_with_same_key",
    _("several %(kinds)s have the key %(key)s; delete all but one"),
)
UNKNOWN_USERS = Template(
    "unknown_document_users", _("no user has %(names)s; pass --skip-unknown to skip them")
)
SHARED_USERS = Template(
    "shared_document_users",
    _("several users have %(names)s; pass --skip-unknown to skip them"),
)
USERNAMES = Template("usernames", _("the username %(names)s"))
PRIMARY_KEYS = Template("primary_keys", _("the primary key %(keys)s"))
NAMES_OR_KEYS = Template("usernames_or_primary_keys", _("%(names)s or %(keys)s"))
ROW_IS_MISSING = Template(
    "row_of_version_missing",
    _(
        "%(key)s has version %(version)s in the file, but does not exist; pass --ignore-versions "
        "to create it"
    ),
)
EXPORT_AGAIN = Template(
    "export_again",
    _("export again, or pass --ignore-versions to overwrite the changes"),
)
SEGMENT_WOULD_GO = Template(
    "segment_would_be_deleted",
    _(
        "%(place)s names the segment %(key)s, which --delete-missing would delete, because the "
        "file does not have it; add it to the section `segments`"
    ),
)
SEGMENT_NOWHERE = Template(
    "segment_nowhere",
    _(
        "%(place)s names the segment %(key)s, which is neither in the file nor in the database; "
        "add it to the section `segments`"
    ),
)
SEGMENT_STILL_USED = Template(
    "segment_still_used",
    _(
        "the file does not have %(key)s, so --delete-missing would delete it, but the rules of "
        "%(users)s name it; add it, or change these rules"
    ),
)
OTHER_PLAN = Template(
    "other_import_plan",
    _(
        "the plan is now %(present)s, not %(expected)s, because something has changed; review the "
        "new plan with --dry-run"
    ),
)
CREATED_MEANWHILE = Template(
    "created_during_export", _("%(key)s was created during the export; export again")
)
VALUE_NOT_EXPORTABLE = Template(
    "value_not_exportable",
    _(
        "the value %(key)s cannot be exported: it %(problem)s; set it to another value, or delete "
        "it"
    ),
)
FIELD_NOT_EXPORTABLE = {
    Kind.FLAG: Template(
        "flag_not_exportable",
        _(
            "the flag %(key)s cannot be exported: the JSON of its %(field)s %(problem)s; replace "
            "its %(field)s"
        ),
    ),
    Kind.VALUE: Template(
        "value_field_not_exportable",
        _(
            "the value %(key)s cannot be exported: the JSON of its %(field)s %(problem)s; replace "
            "its %(field)s"
        ),
    ),
    Kind.SEGMENT: Template(
        "segment_not_exportable",
        _(
            "the segment %(key)s cannot be exported: the JSON of its %(field)s %(problem)s; "
            "replace its %(field)s"
        ),
    ),
}
