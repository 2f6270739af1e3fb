"""Gives flags a result in the tests of another code base. Python imports it at its start."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from django.http import HttpRequest

from flagstaff import _core
from flagstaff.middleware import RequestFlags

_set_overrides = _core.set_overrides
_by_default: dict[str, bool] = json.loads(os.environ.get("FLAGS_BY_DEFAULT", "{}"))
_forced: dict[str, bool] = json.loads(os.environ.get("FLAGS_FORCED", "{}"))


def _set(
    flags: Mapping[str, bool],
    values: Mapping[str, str],
    variants: Mapping[str, str | None],
    opaque: bool,  # noqa: FBT001
) -> None:
    forced = {**_by_default, **flags, **_forced}
    _set_overrides(forced, dict(values), dict(variants), opaque)


# What `override_flag` calls.
_core.set_overrides = _set  # type: ignore[assignment]
_set({}, {}, {}, False)  # noqa: FBT003
# The code base's settings have no middleware of flagstaff.
HttpRequest.flags = property(RequestFlags)  # type: ignore[attr-defined]
