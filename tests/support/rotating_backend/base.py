"""A database backend that reads its password for each connection, as from a vault."""

import os
from pathlib import Path
from typing import Any

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    def get_connection_params(self) -> dict[str, Any]:
        password = Path(os.environ["FLAGS_PASSWORD_FILE"]).read_text()
        return super().get_connection_params() | {"password": password}
