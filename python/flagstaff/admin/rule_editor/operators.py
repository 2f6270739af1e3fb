"""The operators of a condition in the menu of the editor."""

from __future__ import annotations

from django.utils.translation import gettext_lazy

#: The two choices for the operator "isnull", which have no values.
IS_MISSING, IS_PRESENT = "isnull", "isnull:false"
#: In the order of the menu. A condition is true if one of its values matches.
OPERATORS = {
    "in": gettext_lazy("is one of"),
    "contains": gettext_lazy("contains"),
    "startswith": gettext_lazy("starts with"),
    "endswith": gettext_lazy("ends with"),
    "regex": gettext_lazy("matches the pattern"),
    "lt": gettext_lazy("is less than"),
    "lte": gettext_lazy("is at most"),
    "gt": gettext_lazy("is more than"),
    "gte": gettext_lazy("is at least"),
    "version_lt": gettext_lazy("is a version before"),
    "version_gte": gettext_lazy("is this version or later"),
    IS_MISSING: gettext_lazy("is missing"),
    IS_PRESENT: gettext_lazy("is present"),
}

#: In rules as JSON.
JSON_OPERATORS = [name for name in OPERATORS if name != IS_PRESENT]
