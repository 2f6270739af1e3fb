"""Parameters of functions → requests, fixtures, or keys that a caller passes."""

from __future__ import annotations

from flagstaff.cleanup.references.naming import is_request_name, is_test, last_name
from flagstaff.cleanup.references.project import Project
from flagstaff.cleanup.references.scopes import FunctionScope, Scope
from flagstaff.cleanup.references.values import ANY, Bound, Object, Parameter, Values

__all__ = ["parameter"]

_REQUESTS = ("HttpRequest", "Request", "WSGIRequest", "ASGIRequest", "AsyncRequest")
_FIXTURE = "flags"


def parameter(name: str, scope: Scope, project: Project) -> Values:  # noqa: PLR0911
    """Returns what a parameter is, by its name and its annotation."""
    if not isinstance(scope, FunctionScope):
        return ANY
    if name == scope.receiver and scope.parent is not None:
        return (Bound(scope.parent, is_instance=not scope.is_class_method),)
    annotation = scope.annotations.get(name)
    shown = last_name(annotation) if annotation is not None else ""
    if shown in _REQUESTS or is_request_name(name):
        return (Object("request"),)
    if shown == "Snapshot":
        return (Object("snapshot"),)
    if shown == "RequestFlags":
        return (Object("request_flags"),)
    if name == _FIXTURE and is_test(scope) and not _has_own_fixture(scope.root, project):
        return (Object("fixture"),)
    return (Parameter(scope, name),)


def _has_own_fixture(module: Scope, project: Project) -> bool:
    """Whether a fixture of the project hides ours, in the module or in a conftest.py."""
    package = module.module
    while True:
        if _FIXTURE in module.bindings:
            return True
        package = package.rpartition(".")[0]
        if not package:
            return False
        found = project.find(f"{package}.conftest")
        module = found.found.module if found is not None else module
