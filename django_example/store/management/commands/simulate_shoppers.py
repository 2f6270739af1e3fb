from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from store.simulation import FIRST_PK, simulate


class Command(BaseCommand):
    help = "Lets simulated shoppers come to the experiment, in the past three weeks."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--count", type=int, default=20_000)

    def handle(self, *args: Any, **options: Any) -> None:
        if User.objects.filter(pk__gte=FIRST_PK).exists():
            raise CommandError("the simulated shoppers have come already")
        orders, start = simulate(options["count"])
        self.stdout.write(
            f"{options['count']:,} simulated shoppers, and {orders:,} orders with their times "
            f"moved to {start:%Y-%m-%d} and later"
        )
