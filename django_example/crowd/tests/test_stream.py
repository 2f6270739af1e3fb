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
from crowd.observer import Observer
from flagstaff.models import FeatureFlag


class StreamTests(TestCase):
    url: str

    @classmethod
    def setUpTestData(cls) -> None:
        alice, *_ = (User.objects.create_user(name) for name in ("alice", "bob"))
        flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)
        flag.allowed_users.add(alice)
        cls.url = reverse("crowd-stream")

    def events(self) -> Iterator[dict[str, Any]]:
        """Yields the data of the stream's events."""
        response: Any = self.client.get(self.url)
        for event in response.streaming_content:
            yield json.loads(event.removeprefix(b"data: "))

    def test_first_event_has_result_of_each_user(self) -> None:
        event = next(self.events())
        self.assertEqual(
            (event["enabled"], event["allowed"], event["pid"]), ("10", [0], os.getpid())
        )

    def test_change_of_flag_is_in_next_event(self) -> None:
        events = self.events()
        next(events)
        FeatureFlag.objects.update(rollout_percent=100)
        self.assertEqual(next(events)["enabled"], "11")

    def test_change_during_evaluations_is_in_next_event(self) -> None:
        class Pks(list[int]):
            def __iter__(self) -> Iterator[int]:
                for pk in super().__iter__():
                    yield pk
                    FeatureFlag.objects.update(rollout_percent=100)

        users = User.objects.order_by("pk").values_list("pk", flat=True)
        observer = Observer("new_checkout", Pks(users))
        events = [observer.next_event() or "" for _ in range(2)]
        results = [json.loads(event.removeprefix("data: "))["enabled"] for event in events]
        self.assertEqual(results, ["10", "11"])

    def test_disabled_flag_is_off(self) -> None:
        FeatureFlag.objects.update(enabled=False)
        self.assertEqual(next(self.events())["rollout"], "off")

    def test_connected_worker_answers_no_content(self) -> None:
        response = self.client.get(self.url, {"connected": f"1,{os.getpid()}"})
        self.assertEqual(response.status_code, HTTPStatus.NO_CONTENT)

    def test_stream_ends_with_its_worker(self) -> None:
        with mock.patch.object(stream, "is_serving", return_value=False):
            self.assertEqual(list(self.events()), [])
