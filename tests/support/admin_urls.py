"""The URLs of the admin's pages, from the admins themselves: a new page is among them."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib.admin import site
from django.db.models import Model

#: What a person could type on the pages of all actions, and confirms.
EDITS = {
    "_confirmed": "1",
    "post": "yes",
    "_save": "1",
    "_add": "1",
    "_reason": "edited",
    "rollout_percent": "100",
    "percent": "100",
    "enabled": "on",
    "kind": "ops",
    "bucket_by": "user",
    "key": "opsecret_flag",
    "description": "edited",
    "value": "1",
    "names": "staff",
    "owner": "edited",
    "tags": "edited",
    "review_on": "2100-01-01",
    "users": "staff",
    "winner": "treatment",
    "conditions": json.dumps(
        [{"attribute": "is_authenticated", "operator": "in", "values": [True]}]
    ),
}


def models() -> list[type[Model]]:
    """Returns the models whose pages belong to flagstaff."""
    return [model for model in site._registry if model.__module__.startswith("flagstaff")]


def urls_of(model: type[Model]) -> Iterator[str]:
    """Yields the URLs of a model's pages; "{pk}" stands for the primary key of a row."""
    meta = model._meta
    for pattern in site.get_model_admin(model).get_urls():
        route = str(pattern.pattern).replace("<path:object_id>", "{pk}")
        yield f"/admin/{meta.app_label}/{meta.model_name}/{route}"


def urls_for(rows: Iterable[Any]) -> Iterator[str]:
    """Yields the URL of each page of flagstaff, those of a row for each of these rows."""
    for model in models():
        pks = [row.pk for row in rows if isinstance(row, model)]
        for url in urls_of(model):
            yield from {url.format(pk=pk) for pk in pks} if "{pk}" in url else {url}
