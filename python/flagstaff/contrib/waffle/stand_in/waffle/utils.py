from __future__ import annotations

import hashlib

from django.core.cache import BaseCache, caches

from flagstaff.contrib.waffle.settings import WAFFLE_VERSION, get_setting

__all__ = ["get_cache", "get_setting", "keyfmt"]


def keyfmt(k: str, v: str | None = None) -> str:
    prefix = f"{get_setting('CACHE_PREFIX')}{WAFFLE_VERSION}"
    if v is None:
        return prefix + k
    return prefix + hashlib.md5((k % v).encode(), usedforsecurity=False).hexdigest()


def get_cache() -> BaseCache:
    return caches[get_setting("CACHE_NAME")]
