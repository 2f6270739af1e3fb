"""Makes the links of the package's page absolute: `python -m tools.package_page dist/*`.

The page is the README, whose links lead to files beside it. In the metadata of a wheel or a source
archive, they lead to the built documentation and to the source. Needs only Python.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from zipfile import ZIP_DEFLATED, ZipFile

_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_ABSOLUTE = re.compile(r"https://|#")


class Metadata(NamedTuple):
    """The metadata of a package."""

    headers: str
    page: str

    @property
    def version(self) -> str:
        """The version of the package."""
        [version] = re.findall(r"^Version: (.+)$", self.headers, re.MULTILINE)
        return str(version)

    @property
    def urls(self) -> Mapping[str, str]:
        """The addresses in `[project.urls]`, by their labels."""
        return dict(re.findall(r"^Project-URL: (.+?), (.+)$", self.headers, re.MULTILINE))

    @property
    def relative_links(self) -> list[str]:
        """The links of the page that lead nowhere on an index."""
        return [link for _, link, _ in _LINK.findall(self.page) if not _ABSOLUTE.match(link)]

    def with_absolute_links(self) -> Metadata:
        """Returns the same metadata, without relative links."""
        page = _LINK.sub(lambda link: link[1] + self._absolute(link[2]) + link[3], self.page)
        return Metadata(self.headers, page)

    def _absolute(self, link: str) -> str:
        if _ABSOLUTE.match(link):
            return link
        path, mark, anchor = link.partition("#")
        if page := re.fullmatch(r"docs/(.+)\.md", path):
            place = "" if page[1] == "index" else f"{page[1]}/"
            return f"{self.urls['Documentation']}{place}{mark}{anchor}"
        if path.startswith("docs/"):
            return self.urls["Documentation"] + path.removeprefix("docs/")
        return f"{self.urls['Source']}/blob/v{self.version}/{link}"


def main() -> int:
    """Rewrites the packages given as arguments."""
    if not sys.argv[1:]:
        sys.exit(__doc__)
    for path in map(Path, sys.argv[1:]):
        (rewrite_wheel if path.suffix == ".whl" else rewrite_source)(path)
    return 0


def parse(metadata: bytes) -> Metadata:
    """Returns the parts of a file METADATA or PKG-INFO."""
    headers, _, page = metadata.decode().partition("\n\n")
    return Metadata(headers, page)


def metadata_of(wheel: Path) -> Metadata:
    """Returns the metadata of a wheel."""
    with ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return parse(archive.read(name))


def rewrite_wheel(wheel: Path) -> None:
    """Rewrites METADATA, and its line in RECORD."""
    with ZipFile(wheel) as archive:
        files = [(info, archive.read(info)) for info in archive.infolist()]
    [(name, before)] = [
        (info.filename, content)
        for info, content in files
        if info.filename.endswith(".dist-info/METADATA")
    ]
    after = _rewritten(before)
    with ZipFile(wheel, "w") as archive:
        for info, content in files:
            written = content
            if info.filename == name:
                written = after
            elif info.filename.endswith(".dist-info/RECORD"):
                written = content.replace(_record(name, before), _record(name, after))
            archive.writestr(info, written, ZIP_DEFLATED, compresslevel=9)


def rewrite_source(source: Path) -> None:
    """Rewrites PKG-INFO."""
    archive = io.BytesIO()
    with tarfile.open(source) as old, tarfile.open(fileobj=archive, mode="w") as new:
        for member in old:
            file = old.extractfile(member)
            content = file.read() if file else b""
            if member.name.endswith("/PKG-INFO"):
                content = _rewritten(content)
                member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    # The same sources have the same archive.
    source.write_bytes(gzip.compress(archive.getvalue(), mtime=0))


def _rewritten(metadata: bytes) -> bytes:
    return "\n\n".join(parse(metadata).with_absolute_links()).encode()


def _record(name: str, content: bytes) -> bytes:
    """Returns the line of a file in RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"{name},sha256={digest},{len(content)}".encode()


if __name__ == "__main__":
    sys.exit(main())
