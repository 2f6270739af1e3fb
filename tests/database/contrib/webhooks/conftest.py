"""Two flags and one receiver, for all tests of this folder."""

from collections.abc import Iterator

import pytest
from django.test import override_settings

from flagstaff.contrib.webhooks import deliver
from flagstaff.models import FeatureFlag
from tests.support.sql import rows
from tests.support.webhooks import Webhook


@pytest.fixture(autouse=True)
def _configured(transactional_db: None, hook: Webhook) -> Iterator[None]:
    """The receiver has had its first delivery run, and the queue is empty."""
    for key in ("new_checkout", "search_v2"):
        FeatureFlag.objects.create(key=key, enabled=True, rollout_percent=5)
    rows("TRUNCATE flagstaff_webhooks_position, flagstaff_webhooks_delivery")
    with override_settings(FLAGSTAFF={"WEBHOOKS": {"ops": hook.settings()}}):
        deliver()
        yield
    rows("TRUNCATE flagstaff_webhooks_position, flagstaff_webhooks_delivery")
