"""The image and the services of the page start commands that exist."""

import re

import pytest
import yaml
from django.core.management import get_commands, load_command_class

from tests.support.pages import code_of

PAGE = "how-to/containers.md"


def test_server_of_the_image_gets_the_signals() -> None:
    [image] = code_of(PAGE, "dockerfile")
    [command] = re.findall(r"(?m)^CMD (.+)$", image)
    # A list starts no shell, which would keep SIGTERM for itself.
    assert yaml.safe_load(command)[0] == "gunicorn"


@pytest.mark.parametrize("service", ["migrate", "jobs"])
def test_command_of_a_service_is_accepted(service: str) -> None:
    [services] = code_of(PAGE, "yaml", "services:")
    python, _manage, name, *arguments = yaml.safe_load(services)["services"][service]["command"]
    assert python == "python"
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    parser.parse_args(arguments)


def test_web_and_jobs_start_after_the_migration() -> None:
    [services] = code_of(PAGE, "yaml", "services:")
    waiting = yaml.safe_load(services)["services"]
    for name in ("web", "jobs"):
        assert waiting[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"}
        }
