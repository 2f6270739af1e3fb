"""Why a request has no result."""

from __future__ import annotations

from collections.abc import Mapping


class OfrepError(Exception):
    """The request has no result; the response says why."""

    def __init__(
        self, status: int, code: str, details: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(details)
        self.status = status
        self.headers = headers
        #: The code is one of OpenFeature. SDKs read the details without a default.
        self.body = {"errorCode": code, "errorDetails": details}
