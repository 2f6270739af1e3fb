"""Rows of waffle, models of a project in their place, and what an import says about them."""

import json
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from waffle.models import AbstractUserFlag, Flag, Sample, Switch

from flagstaff.contrib.waffle import settings
from tests.support.models_of_others import model_of
from tests.support.terminals import flags


def flag(name: str = "checkout", **columns: Any) -> Any:
    """Creates a flag of waffle, off for everybody unless a column says otherwise."""
    return Flag.objects.create(name=name, **{"superusers": False, **columns})


def switch(name: str = "search", *, active: bool = True, **columns: Any) -> Any:
    return Switch.objects.create(name=name, active=active, **columns)


def sample(name: str = "audit", percent: Any = "50.0", **columns: Any) -> Any:
    return Sample.objects.create(name=name, percent=percent, **columns)


def open_waffle() -> None:
    """Creates the rows of waffle in the documentation."""
    flag("checkout", staff=True, languages="de")
    flag("new search", everyone=True)
    switch("maintenance", active=False)
    sample("audit_log", "12.5")


def statuses(*options: str) -> dict[str, str]:
    """Returns the status of each row by "kind:name", as a dry run has it."""
    return {
        f"{row['kind']}:{row['name']}": row["status"] for row in rows_of_dry_run(*options).values()
    }


def rows_of_dry_run(*options: str) -> dict[str, Any]:
    """Returns the records of a dry run by "kind:name"."""
    report = json.loads(flags("import-waffle", "--dry-run", "--json", *options).out)
    assert sum(report["counts"].values()) == len(report["rows"])
    return {f"{row['kind']}:{row['name']}": row for row in report["rows"]}


def notes(*options: str) -> dict[str, str]:
    """Returns what a dry run says about each row, by "kind:name"."""
    return {name: "; ".join(row["notes"]) for name, row in rows_of_dry_run(*options).items()}


def use_flag_model(patch: pytest.MonkeyPatch, name: str, /, **fields: Any) -> Any:
    """Returns a flag model of the project, with these fields and methods, in place of waffle's."""
    model = model_of(name, fields, AbstractUserFlag)
    with connection.schema_editor() as editor:
        editor.create_model(model)
    models = {"FLAG_MODEL": model}
    others = settings.get_waffle_model
    patch.setattr(settings, "get_waffle_model", lambda name: models.get(name) or others(name))
    cache.clear()
    return model
