from __future__ import annotations

import hashlib
from typing import Any

from django.conf import settings
from django.core.cache import BaseCache, caches

from waffle import __version__, defaults


def get_setting(name: str, default: Any = None) -> Any:
    """Returns a setting of waffle, such as "COOKIE" for WAFFLE_COOKIE."""
    return getattr(settings, f"WAFFLE_{name}", getattr(defaults, name, default))


def keyfmt(k: str, v: str | None = None) -> str:
    prefix = f"{get_setting('CACHE_PREFIX')}{__version__}"
    if v is None:
        return prefix + k
    return prefix + hashlib.md5((k % v).encode(), usedforsecurity=False).hexdigest()


def get_cache() -> BaseCache:
    return caches[get_setting("CACHE_NAME")]
