"""Why the results of waffle and flagstaff differ, and what to do about it."""

from __future__ import annotations

from enum import Enum

from django.utils.translation import gettext

from flagstaff._words.message import Message, Template
from flagstaff._words.message import marked as _


class Cause(Enum):
    """Why two results differ, as the table has it. In the order in which pages explain them."""

    NO_FLAG = "no flag"
    RULE = "rule"
    OTHER = "other"
    PERCENTAGE = "percentage"
    UNSAVED_USER = "unsaved user"
    STALE_CACHE = "stale cache"
    #: The results are equal.
    EQUAL = "equal"


#: What a person must look at before flagstaff serves the results.
URGENT = (Cause.NO_FLAG, Cause.RULE, Cause.OTHER)

_LABELS = {
    Cause.NO_FLAG: _("no flag"),
    Cause.RULE: _("rule"),
    Cause.OTHER: _("other"),
    Cause.PERCENTAGE: _("percentage"),
    Cause.UNSAVED_USER: _("unsaved user"),
    Cause.STALE_CACHE: _("stale cache"),
    Cause.EQUAL: _("equal"),
}
_TEXTS = {
    Cause.NO_FLAG: Template(
        "difference_no_flag",
        _(
            "waffle knows the name, and there is no flag. Import it with “manage.py flags "
            "import-from waffle”, or delete it in waffle."
        ),
    ),
    Cause.RULE: Template(
        "difference_rule",
        _(
            "A rule or an allowed user decides on one side only. Compare the users, groups, "
            "languages and columns in waffle with the allowed users and rules of the flag."
        ),
    ),
    Cause.OTHER: Template(
        "difference_other",
        _(
            "The flag is on, off or at another percentage than in waffle: it was changed on one "
            "side only. Run “manage.py flags import-from waffle --dry-run” to see what changed."
        ),
    ),
    Cause.PERCENTAGE: Template(
        "difference_percentage",
        _(
            "The bucket of the visitor or user decides here, and waffle has drawn nothing. This is "
            "expected: browsers that have a cookie of waffle keep their result."
        ),
    ),
    Cause.UNSAVED_USER: Template(
        "difference_unsaved_user",
        _(
            "The user has no primary key, which happens in tests and in code that makes a request "
            "of its own. Rules can read the attributes of such a user, but not the groups."
        ),
    ),
    Cause.STALE_CACHE: Template(
        "difference_stale_cache",
        _(
            "waffle used an outdated row of its cache, or flagstaff had not heard of a change yet. "
            "This is expected, and ends when flagstaff serves the results."
        ),
    ),
    Cause.EQUAL: Template("difference_equal", _("The results are equal.")),
}


def text_of(cause: Cause) -> Message:
    """Returns what a cause means, and what to do."""
    return _TEXTS[cause]()


def label_of(cause: Cause) -> str:
    """Returns the name of a cause in the language of a page."""
    return gettext(_LABELS[cause])
