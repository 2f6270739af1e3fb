from collections.abc import Callable, Mapping
from typing import Any

from flagstaff._attribution import acting_as
from flagstaff._core import flag_enabled, get_value, resolve_flag, snapshot
from flagstaff._declared import Flag, Value
from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.lifecycle import aclose, aready, close, ready, refresh
from flagstaff._evaluation import all_flags, explain, explain_value, resolve_value
from flagstaff._workers.status import status
from flagstaff._workers.usage import usage
from flagstaff._workers.wait import wait_for_workers

__all__ = [
    "Flag",
    "Value",
    "aclose",
    "acting_as",
    "all_flags",
    "aready",
    "close",
    "explain",
    "explain_value",
    "flag_enabled",
    "get_value",
    "read_own_writes",
    "ready",
    "refresh",
    "resolve_flag",
    "resolve_value",
    "snapshot",
    "status",
    "usage",
    "wait_for_workers",
]

def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]: ...
