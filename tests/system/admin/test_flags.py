"""The admin of processes whose settings replace the models."""

import pytest

from tests.conftest import RunIsolated

REGISTERED = """
import django, os
from django.conf import settings
settings.FLAGSTAFF = eval(os.environ["FLAGSTAFF"])
django.setup()
from django.contrib.admin import site
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
print(*map(site.is_registered, (FeatureFlag, KeyValueStore, Segment)))
"""


@pytest.mark.parametrize(
    ("settings", "registered"),
    [
        ("{}", "True True True"),
        ("{'FLAG_MODEL': 'auth.Group'}", "False True True"),
        ("{'VALUE_MODEL': 'auth.Group'}", "True False True"),
        # A system check reports the error.
        ("{'FLAG_MODEL': 'nowhere.Flag'}", "True True True"),
    ],
)
def test_replaced_model_has_no_admin(
    settings: str, registered: str, run_isolated: RunIsolated
) -> None:
    assert run_isolated(REGISTERED, FLAGSTAFF=settings).strip() == registered
