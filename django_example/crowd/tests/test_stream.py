from __future__ import annotations

import json
import os
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from unittest import mock

from django.contrib.auth.models import User
from django.test import TestCase
from django.urls import reverse

from crowd import stream
from flagstaff.models import FeatureFlag


class StreamTests(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        alice, *_ = (User.objects.create_user(name) for name in ("alice", "bob"))
        flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)
        flag.allowed_users.add(alice)

    def told(self) -> Iterator[dict[str, Any]]:
        """Yield what the stream tells, for as long as the test listens."""
        response: Any = self.client.get(reverse("crowd-stream"))
        for event in response.streaming_content:
            yield json.loads(event.removeprefix(b"data: "))

    def test_the_first_event_tells_who_has_the_flag(self) -> None:
        told = next(self.told())
        self.assertEqual((told["lit"], told["listed"], told["pid"]), ("10", [0], os.getpid()))

    def test_a_change_is_told_as_the_next_event(self) -> None:
        events = self.told()
        next(events)
        FeatureFlag.objects.update(rollout_percent=100)
        self.assertEqual(next(events)["lit"], "11")

    def test_a_flag_that_is_off_says_so(self) -> None:
        FeatureFlag.objects.update(enabled=False)
        self.assertEqual(next(self.told())["rollout"], "switched off")

    async def test_under_asgi_it_tells_the_same(self) -> None:
        response: Any = await self.async_client.get(reverse("crowd-stream"))
        event = await anext(aiter(response.streaming_content))
        self.assertEqual(json.loads(event.removeprefix(b"data: "))["lit"], "10")

    def test_a_worker_that_the_page_has_sends_it_on(self) -> None:
        response = self.client.get(reverse("crowd-stream"), {"have": f"1,{os.getpid()}"})
        self.assertEqual(response.status_code, HTTPStatus.NO_CONTENT)

    def test_a_stream_ends_with_its_worker(self) -> None:
        with mock.patch.object(stream, "serving", return_value=False):
            self.assertEqual(list(self.told()), [])
