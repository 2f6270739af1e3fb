"""Rows of waffle are created here without the mirror, which would write each of them at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flagstaff.compat.mirror_context import evaluating


@pytest.fixture(autouse=True)
def _without_the_mirror(request: pytest.FixtureRequest) -> Iterator[None]:
    """Suppresses the mirror, except in its own tests."""
    if "mirror" in request.path.name:
        yield
        return
    with evaluating():
        yield
