"""The flags that are probably meant by misspelt keys."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from django.contrib.admin import AdminSite
from django.http import HttpRequest

from flagstaff._tables.rows import all_rows
from flagstaff.admin.links import may_view, page_url
from flagstaff.conf import conf

# "new_chekout" and "new_checkout" are similar; keys that share only a prefix are not.
_CUTOFF = 0.8
# Comparing in full is slow: only the flags with the most parts in common are compared.
_MAX_COMPARED = 5
# A part that more flags have, such as a prefix, is ignored.
_MAX_COMMON = 100
_PART = 3


@dataclass(frozen=True)
class SimilarFlag:
    """An existing flag."""

    key: str
    #: The page of the flag; empty if the user may not open it.
    url: str


def similar_flags(
    site: AdminSite, request: HttpRequest, keys: Collection[str]
) -> Mapping[str, SimilarFlag]:
    """Returns the most similar flag of each key that has one. Makes one query."""
    model = conf.flag_model
    pks = dict(all_rows(model).exclude(key=None).order_by("key").values_list("key", "pk"))
    has_link = may_view(site, request, model)
    return {
        key: SimilarFlag(name, page_url(site, model, "change", pks[name]) if has_link else "")
        for key, name in similar_keys(keys, pks).items()
    }


def similar_keys(keys: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Returns the most similar known key of each key that has one. Ignores case."""
    folded = {one.casefold(): one for one in known}
    by_part = _by_part(folded)
    found: dict[str, str] = {}
    for key in keys:
        name = key.casefold()
        near = [name] if name in folded else _nearest(name, by_part)
        if near:
            found[key] = folded[near[0]]
    return found


def _nearest(name: str, by_part: Mapping[str, list[str]]) -> list[str]:
    counts = Counter(
        one
        for part in _parts(name)
        if len(those := by_part.get(part, ())) <= _MAX_COMMON
        for one in those
    )
    most = [one for one, _count in counts.most_common(_MAX_COMPARED)]
    return get_close_matches(name, most, n=1, cutoff=_CUTOFF)


def _by_part(names: Iterable[str]) -> Mapping[str, list[str]]:
    """The names that have each part of three characters."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        for part in _parts(name):
            found[part].append(name)
    return found


def _parts(name: str) -> set[str]:
    # Short names have parts, too.
    padded = f"  {name} "
    return {padded[start : start + _PART] for start in range(len(padded) - _PART + 1)}
