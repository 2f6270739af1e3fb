"""Why a request has no result."""

from __future__ import annotations

from collections.abc import Mapping

# The status of a request for one key that has no result, and the details.
_WITHOUT_RESULT = {
    "FLAG_NOT_FOUND": (404, "there is no flag, value or experiment with this key"),
    "PARSE_ERROR": (400, "the rules cannot be read"),
    "PROVIDER_NOT_READY": (503, "flagstaff has loaded nothing yet"),
    "GENERAL": (503, "the database failed while the user or an attribute was read"),
}


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


def no_result(code: str) -> OfrepError:
    """Returns the error of an evaluation with this code of OpenFeature."""
    status, details = _WITHOUT_RESULT[code]
    return OfrepError(status, code, details)
