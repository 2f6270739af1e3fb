"""`flags sample-size`: how many units an experiment needs."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from flagstaff.experiments.statistics import Design, sample_size_of_means


def run(*arguments: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("flags", "sample-size", *arguments, "--json", stdout=out, stderr=io.StringIO())
    return dict(json.loads(out.getvalue()))


@pytest.mark.parametrize("shares", [("10%", "12%"), ("0.1", "0.12")])
def test_shares_give_the_units_of_each_variant(shares: tuple[str, str]) -> None:
    found = run("--from", shares[0], "--to", shares[1], "--per-day", "500")
    assert found == {"control": 3841, "treatment": 3841, "total": 7682, "days": 16}


def test_mean_takes_its_deviation_and_the_power() -> None:
    found = run("--deviation", "30", "--effect", "1.5", "--power", "0.9")
    assert found["total"] == sample_size_of_means(30, 1.5, Design(power=0.9)).total
    assert found["days"] is None


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "write --from and --to for a conversion, or --deviation and --effect for a mean"),
        (("--from", "10%"), "write --from and --to"),
        (("--from", "10%", "--to", "12%", "--deviation", "3"), "write --from and --to"),
        (("--from", "10%", "--to", "10%"), "treatment is equal to control"),
        (("--from", "110%", "--to", "10%"), "expected a share such as 0.1 or 10%, not '110%'"),
        (("--deviation", "-1", "--effect", "1"), "expected a number above 0"),
    ],
)
def test_unusable_arguments_are_refused(arguments: tuple[str, ...], problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        run(*arguments)
