"""An import of waffle → the import of flagstaff.compat.waffle that binds the same names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import libcst as cst

from flagstaff.cleanup.references.naming import dotted
from flagstaff.cleanup.rewrite import reasons
from flagstaff.cleanup.rewrite.import_changes import Import
from flagstaff.cleanup.rewrite.reasons import Reason

_FUNCTIONS = frozenset({"flag_is_active", "switch_is_active", "sample_is_active"})
_SUBMODULES = ("decorators", "jinja", "middleware", "mixins", "testutils", "urls", "views")
#: The names of each module that flagstaff.compat.waffle has, too, also without waffle.
COMPAT_MODULES: dict[str, frozenset[str]] = {
    "waffle": _FUNCTIONS
    | {f"get_waffle_{kind}model" for kind in ("", "flag_", "switch_", "sample_")}
    | {*_SUBMODULES},
    "waffle.decorators": frozenset({"flag_is_active", "switch_is_active"})
    | {"waffle_flag", "waffle_switch"},
    "waffle.jinja": frozenset({"WaffleExtension"}),
    "waffle.middleware": frozenset({"WaffleMiddleware"}),
    "waffle.mixins": _FUNCTIONS
    | {f"{kind}Mixin" for kind in ("BaseWaffle", "WaffleFlag", "WaffleSample", "WaffleSwitch")},
    "waffle.testutils": frozenset({"override_flag", "override_sample", "override_switch"}),
    "waffle.views": frozenset({"waffle_json", "wafflejs"}),
}


def compat_import(node: Import, attributes: Iterable[str]) -> Import | Reason:
    """Returns the new statement, or why there is none.

    The attributes are those that code reads of the imported modules.
    """
    if isinstance(node, cst.Import):
        return _of_module(node, attributes)
    if isinstance(node.names, cst.ImportStar) or node.module is None:
        return reasons.IMPORT
    module = dotted(node.module)
    names = {str(alias.evaluated_name) for alias in node.names}
    if module == "waffle.models":
        return reasons.MODEL
    if not names <= COMPAT_MODULES.get(module, frozenset()):
        return reasons.NO_NAME
    return node.with_changes(module=_dotted(f"flagstaff.compat.{module}"))


def _of_module(node: cst.Import, attributes: Iterable[str]) -> Import | Reason:
    if len(node.names) > 1:
        return reasons.IMPORT
    alias = node.names[0]
    package, _, name = dotted(alias.name).rpartition(".")
    if package and alias.asname is None:
        # `import waffle.decorators` binds the package.
        return reasons.IMPORT
    known = COMPAT_MODULES.get(dotted(alias.name), frozenset()) - {*_SUBMODULES}
    unknown = {*attributes} - known
    if unknown:
        is_model = any(one == "models" or one.startswith("get_waffle_") for one in unknown)
        return reasons.MODEL if is_model else reasons.NO_NAME
    parent = f"flagstaff.compat.{package}".rstrip(".")
    return cst.ImportFrom(
        module=cast("cst.Attribute", _dotted(parent)),
        names=[cst.ImportAlias(cst.Name(name), asname=alias.asname)],
    )


def _dotted(name: str) -> cst.BaseExpression:
    return cst.parse_expression(name)
