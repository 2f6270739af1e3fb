"""Settings of a served project whose middleware observes requests for rollout plans."""

from __future__ import annotations

from tests.faults.served.settings import *  # noqa: F403 (usual in settings files)

ROOT_URLCONF = "tests.faults.served.plan_urls"
MIDDLEWARE = ["flagstaff.middleware.FlagstaffMiddleware"]
