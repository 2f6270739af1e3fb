"""The flags that are probably meant by misspelt keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from django.contrib.admin import AdminSite
from django.http import HttpRequest

from flagstaff._tables.rows import all_rows
from flagstaff.admin.links import may_view, page_url
from flagstaff.conf import conf

__all__ = ["SimilarFlag", "similar_flags"]

# Of more flags, only keys in another case are found: comparing texts takes long.
_MAX_COMPARED = 1_000
# As similar as "new_chekout" and "new_checkout" are, and not only of one prefix.
_CUTOFF = 0.8


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
    folded = {key.casefold(): key for key in pks}
    candidates = list(folded) if len(folded) <= _MAX_COMPARED else []
    has_link = may_view(site, request, model)
    found: dict[str, SimilarFlag] = {}
    for key in keys:
        near = [key.casefold()] if key.casefold() in folded else []
        near = near or get_close_matches(key.casefold(), candidates, n=1, cutoff=_CUTOFF)
        if near:
            name = folded[near[0]]
            url = page_url(site, model, "change", pks[name]) if has_link else ""
            found[key] = SimilarFlag(name, url)
    return found
