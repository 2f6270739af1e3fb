"""Small programs that use waffle: what the rewriting makes of them, and what they return."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import Any
from unittest import mock

from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.template import Context, Engine
from django.test import RequestFactory

from flagstaff.cleanup.references.files import searched_files
from flagstaff.cleanup.rewrite.keys import Keys, KnownFlag
from flagstaff.cleanup.rewrite.rewriting import Level, Rewriting, rewrite
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.testing import override_flag
from tests.support.references import write_project

#: The flags of the programs: `a` and `b`, and some that need flagstaff.compat.
KEYS = Keys(
    {
        "a": KnownFlag(),
        "b": KnownFlag(),
        "language": KnownFlag(rules='[{"conditions": [{"attribute": "language"}]}]'),
        "tested": KnownFlag(rules='[{"conditions": [{"attribute": "waffle_test"}]}]'),
        "half": KnownFlag(percent=50),
    },
    {},
)


def rewriting_of(
    root: Path, files: Mapping[str, str], level: Level = "flagstaff", keys: Keys = KEYS
) -> Rewriting:
    """Returns what becomes of a project."""
    write_project(root, dict(files))
    return rewrite(searched_files([root]), keys, level)


def written(root: Path, made: Rewriting) -> None:
    """Writes the new texts without asking git."""
    for path, (_, new) in made.files.items():
        Path(path).write_bytes(new.encode())


def returned(root: Path, state: bool | None) -> Any:
    """Returns what `run(request)` of the module `main` returns. The flags `a` and `b` differ.

    With None, nothing sets them.
    """
    before = set(sys.modules)
    invalidate_caches()
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    with (
        mock.patch.object(sys, "path", [str(root), *sys.path]),
        ExitStack() as stack,
    ):
        if state is not None:
            stack.enter_context(override_flag("a", state))
            stack.enter_context(override_flag("b", not state))
        try:
            main = import_module("main")
            found: list[Any] = []

            def view(request: Any) -> Any:
                found.append(main.run(request))
                return HttpResponse()

            FlagstaffMiddleware(view)(request)
            return found[0]
        finally:
            for name in set(sys.modules) - before:
                if (getattr(sys.modules[name], "__file__", "") or "").startswith(str(root)):
                    del sys.modules[name]


def rendered(path: Path, state: bool) -> str:
    """Returns what a template of Django renders."""
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    libraries = {"waffle_tags": "waffle.templatetags.waffle_tags"}
    libraries["i18n"] = "django.templatetags.i18n"
    libraries["flagstaff"] = "flagstaff.templatetags.flagstaff"
    template = Engine(libraries=libraries).from_string(path.read_text())
    with override_flag("a", state), override_flag("b", not state):
        return template.render(Context({"request": request}))
