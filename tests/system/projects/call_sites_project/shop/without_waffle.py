"""What call sites get from flagstaff's tables after waffle has left."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.template.loader import render_to_string
from django.test import Client

from flagstaff.compat import waffle
from flagstaff.compat.models import WaffleRow
from flagstaff.compat.waffle.testutils import override_flag, override_sample
from flagstaff.models import FeatureFlag

pytestmark = pytest.mark.django_db


def create(key: str, **fields: Any) -> FeatureFlag:
    return FeatureFlag.objects.create(
        **{"key": key, "enabled": True, "rollout_percent": 100} | fields
    )


def test_functions_evaluate_flags_by_their_keys(client: Client) -> None:
    create("search", enabled=False)
    create("search.switch")
    create("search.sample")
    assert client.get("/results/").content == b"off on on"


def test_existing_flag_does_not_get_default_of_settings(client: Client, settings: Any) -> None:
    settings.WAFFLE_FLAG_DEFAULT = True
    create("search", enabled=False)
    assert client.get("/results/").content == b"off off off"


def test_tags_without_request_evaluate(client: Client) -> None:
    create("search")
    assert render_to_string("tags.html").strip() == "on off"


@pytest.fixture
def _rows() -> None:
    for key, kind, name in (("search", "flag", "search"), ("a___b_", "switch", "a </b>")):
        create(key, client_side=True)
        WaffleRow.objects.create(kind=kind, name=name, key=key)
    create("new", client_side=True, enabled=False)
    create("hidden")


@pytest.mark.usefixtures("_rows")
def test_status_has_client_side_flags_by_their_names_in_waffle(client: Client) -> None:
    assert client.get("/waffle_status").json() == {
        "flags": {"search": {"is_active": True}, "new": {"is_active": False}},
        "switches": {"a </b>": {"is_active": True}},
        "samples": {},
    }


@pytest.mark.usefixtures("_rows")
def test_script_has_results_that_cannot_end_its_element(client: Client) -> None:
    response = client.get("/wafflejs")
    assert response.headers["Content-Type"] == "application/x-javascript"
    script = response.content.decode()
    arguments = re.search(r"^\}\)\((\{.*\}), (\{.*\})\);$", script, re.MULTILINE)
    assert arguments
    assert [json.loads(one) for one in arguments.groups()] == [
        {
            "flags": {"search": True, "new": False},
            "switches": {"a </b>": True},
            "samples": {},
        },
        {"flags": False, "switches": False, "samples": False},
    ]
    assert "</" not in script


def test_models_of_waffle_are_refused_with_advice() -> None:
    with pytest.raises(ImproperlyConfigured, match="use flagstaff"):
        waffle.get_waffle_flag_model()


@pytest.mark.parametrize("percent", [0.5, 50.0])
def test_override_of_sample_by_a_percentage_is_rejected(percent: float) -> None:
    with pytest.raises(TypeError, match="enabled must be True or False"):
        override_sample("search", percent)


def test_override_of_flag_by_unknown_is_rejected() -> None:
    with pytest.raises(TypeError, match="enabled must be True or False"):
        override_flag("search", None)  # type: ignore[arg-type]
