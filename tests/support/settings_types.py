"""All models, including those of the example, for the Django plugin of mypy."""

import sys
from pathlib import Path

from tests.support.settings import *  # noqa: F403
from tests.support.settings import INSTALLED_APPS

sys.path.append(str(Path(__file__).parent.parent.parent / "django_example"))

INSTALLED_APPS = [*INSTALLED_APPS, "crowd", "store"]
