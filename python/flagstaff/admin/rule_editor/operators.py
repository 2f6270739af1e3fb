"""The operators of conditions in words."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from flagstaff.admin.rule_editor.rows import IS_MISSING, IS_PRESENT

#: In the order of the menu. A condition is true if one of its values matches.
OPERATORS = {
    "in": _("is one of"),
    "contains": _("contains"),
    "startswith": _("starts with"),
    "endswith": _("ends with"),
    "regex": _("matches the pattern"),
    "lt": _("is less than"),
    "lte": _("is at most"),
    "gt": _("is more than"),
    "gte": _("is at least"),
    "version_lt": _("is a version before"),
    "version_gte": _("is this version or later"),
    IS_MISSING: _("is missing"),
    IS_PRESENT: _("is present"),
}
