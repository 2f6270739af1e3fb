"""Helpers for tests of experiments in the admin."""

from __future__ import annotations

import re
from typing import Any

from django.test import Client

from flagstaff.experiments.models import Experiment

__all__ = ["EXPERIMENTS", "button_names", "confirm_page", "experiment_url", "press"]

EXPERIMENTS = "/admin/flagstaff_experiments/experiment/"


def experiment_url(experiment: Experiment) -> str:
    """Returns the URL of the page of an experiment."""
    return f"{EXPERIMENTS}{experiment.pk}/change/"


def button_names(html: str) -> list[str]:
    """Returns the buttons of a page."""
    return re.findall(r'name="_experiment" value="(\w+)"', html)


def confirm_page(client: Client, experiment: Experiment, name: str) -> str:
    """Presses a button, and returns the page that asks for a confirmation."""
    response = client.post(experiment_url(experiment), {"_experiment": name})
    assert response.status_code == 200
    return response.content.decode()


def press(client: Client, experiment: Experiment, name: str, **more: Any) -> Any:
    """Presses a button and confirms. Returns the page that follows."""
    html = confirm_page(client, experiment, name)
    [version] = re.findall(r'name="expect_version" value="([^"]+)"', html)
    data = {"_experiment": name, "expect_version": version, "_confirmed": "1", **more}
    return client.post(experiment_url(experiment), data, follow=True)
