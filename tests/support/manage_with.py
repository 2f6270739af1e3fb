"""`manage.py` of the tests' project, with the FLAGSTAFF settings of the environment."""

import json
import os
import sys

from django.conf import settings
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.settings")
    settings.FLAGSTAFF = json.loads(os.environ["FLAGSTAFF"])
    execute_from_command_line(["manage.py", *sys.argv[1:]])
