"""The tables of the models, for one test; a plugin of pytest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.core.cache import cache
from django.db import connection


@pytest.fixture(autouse=True)
def _tables(db: None) -> Iterator[None]:
    cache.clear()
    with connection.schema_editor() as editor:
        for model in apps.get_app_config("own_code").get_models():
            if not model._meta.proxy:
                editor.create_model(model)
    yield
    cache.clear()
