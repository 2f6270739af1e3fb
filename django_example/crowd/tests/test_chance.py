from __future__ import annotations

from django.test import SimpleTestCase

from crowd.chance import likely_range


class LikelyRangeTests(SimpleTestCase):
    def test_half_of_hundred_users_is_forty_to_sixty(self) -> None:
        self.assertEqual(likely_range(100, 50), (40, 60))

    def test_five_percent_of_the_demo_is_eight_to_twenty_three(self) -> None:
        self.assertEqual(likely_range(299, 5), (8, 23))

    def test_rollout_to_no_or_all_users_is_certain(self) -> None:
        self.assertEqual((likely_range(300, 0), likely_range(300, 100)), ((0, 0), (300, 300)))

    def test_no_users_are_no_error(self) -> None:
        self.assertEqual(likely_range(0, 5), (0, 0))
