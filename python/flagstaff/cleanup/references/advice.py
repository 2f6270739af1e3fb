"""What to do with a place if the flag has the same result for all users, in words."""

from __future__ import annotations

from collections.abc import Mapping

from flagstaff.cleanup.references.model import About, Kind, Reference

_BY_KIND: dict[Kind, tuple[str, str]] = {
    Kind.EVALUATION: (
        "replace it with True, and keep only the code for users with the flag",
        "replace it with False, and keep only the code for users without the flag",
    ),
    Kind.DECORATOR: (
        "remove the decorator",
        "remove the view: all users get `otherwise`, or a 404 if it is not set",
    ),
    Kind.MIXIN: (
        "remove flag_key and FlagRequiredMixin",
        "remove the view: all users get flag_otherwise, or a 404 if it is not set",
    ),
    Kind.PERMISSION: (
        "remove the permission",
        "remove the endpoint: all users are refused",
    ),
    Kind.TEMPLATE: (
        "keep only the content for users with the flag",
        "keep only the content for users without the flag",
    ),
    Kind.TEST: (
        "remove the override, and the tests in which the flag is off",
        "remove the override, and the tests in which the flag is on",
    ),
    Kind.CHANGE: ("remove the change of the flag",) * 2,
    Kind.QUERY: ("remove the code that reads or creates the row of the flag",) * 2,
    Kind.SETTING: ("remove the key from the setting",) * 2,
}
# By the name of what names the key.
_BY_NAME: dict[str, tuple[str, str]] = {
    "flags.on": ("remove the statement", "delete the test: it covers code that you remove"),
    "flags.off": ("delete the test: it covers code that you remove", "remove the statement"),
    "explain": ("remove the explanation of the flag",) * 2,
    "depends_on_user": ("replace it with False: all users get the same result",) * 2,
    **dict.fromkeys(
        ("resolve_flag", "get_boolean_details", "get_boolean_details_async"),
        (
            "replace its value with True, and keep only the code for users with the flag",
            "replace its value with False, and keep only the code for users without the flag",
        ),
    ),
    "parametrize": ("remove the key from the parameters of the test",) * 2,
}


def advice(reference: Reference, results: Mapping[str, bool]) -> str:
    """Returns what to do with a place, or "" if the results say nothing about it."""
    if reference.about != About.FLAG:
        return ""
    if reference.key is None:
        return _of_dynamic(reference, results)
    if reference.key not in results:
        return ""
    by_result = _BY_NAME.get(reference.name) or _BY_KIND[reference.kind]
    return by_result[0 if results[reference.key] else 1]


def _of_dynamic(reference: Reference, results: Mapping[str, bool]) -> str:
    may_be = [key for key in reference.candidates if key in results]
    if may_be:
        return f"check by hand: the key may be {', '.join(may_be)}"
    if reference.pattern.strip("*"):
        return ""
    return "check by hand: the key is known only at run time"
