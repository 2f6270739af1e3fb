"""What older versions of django-waffle do differently from version 5, which the stand-in is."""

from __future__ import annotations

# From which version on `is_active_for_user()` regards which value of *Everyone*.
_YES, _NO = (4, 1), (5, 0)


def version_text() -> str:
    """Returns how the results of the installed waffle differ; empty for version 5 and newer."""
    import waffle  # noqa: PLC0415 (the project may have removed it)

    version = tuple(int(part) for part in waffle.__version__.split(".")[:2] if part.isdigit())
    if version >= _NO:
        return ""
    ignored = "Everyone: No" if version >= _YES else "Everyone"
    return (
        f"django-waffle {waffle.__version__} differs from version 5, whose place flagstaff takes: "
        f"its is_active_for_user() ignores {ignored!r}, and it does not call "
        "_is_active_for_percent() of a model of yours"
    )
