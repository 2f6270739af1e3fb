"""The built site: where its links lead, what its search finds, and what assistants read."""

import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from selectolax.lexbor import LexborHTMLParser

import flagstaff
from tests.conftest import ROOT
from tools.docs_site import CALLS
from tools.limits import CHILD, seconds
from tools.package_page import Metadata

# The site is built once, by the first test.
pytestmark = pytest.mark.timeout(2 * CHILD)
HEADERS = (
    "Version: 0.1.0\n"
    "Project-URL: Documentation, https://site.invalid/\n"
    "Project-URL: Source, https://source.invalid"
)
#: What a newcomer searches for, and the page that should be first.
SEARCHES = {
    "docker": "how-to/containers/",
    "mypy": "how-to/types/",
    "react": "how-to/front-ends/",
    "remove a flag": "how-to/clean-up/",
    "staging": "how-to/environments/",
    "replica": "how-to/replicas/",
    "constance": "how-to/from-others/",
    "async": "how-to/views/",
    "test": "testing/",
    "who changed": "how-to/history/",
}
# The search of mkdocs, as its worker in the browser runs it.
SEARCH = """
const folder = process.argv[1] + "/search/";
const fs = require("fs");
globalThis.importScripts = () => { globalThis.lunr = require(folder + "lunr.js"); };
globalThis.postMessage = () => {};
globalThis.XMLHttpRequest = class {
    addEventListener(_, listener) { this.listener = listener; }
    open() { this.responseText = fs.readFileSync(folder + "search_index.json", "utf8"); }
    send() { this.listener(); }
};
console.log = () => {};
(0, eval)(fs.readFileSync(folder + "worker.js", "utf8"));
init();
const first = (query) => search(query).map((page) => page.location)[0] ?? "";
process.stdout.write(JSON.stringify(JSON.parse(process.argv[2]).map(first)));
"""


def build(folder: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    code = f"import sys\n{before}\nfrom mkdocs.__main__ import cli\ncli()"
    arguments = ["build", "--quiet", "--strict", "--site-dir", str(folder)]
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds(CHILD),
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(folder)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def anchors(site: Path) -> dict[str, set[str]]:
    """The ids of each page, by its address."""
    return {
        f"/{page.relative_to(site)}".removesuffix("index.html"): {
            element.attributes["id"] or ""
            for element in LexborHTMLParser(page.read_text()).css("[id]")
        }
        for page in site.rglob("*.html")
    }


def links_in(page: Path) -> Iterator[str]:
    for attribute in ("href", "src"):
        for element in LexborHTMLParser(page.read_text()).css(f"[{attribute}]"):
            yield element.attributes[attribute] or ""


def leads_somewhere(address: str, site: Path, anchors: dict[str, set[str]]) -> bool:
    """Whether an address below the root of the site exists, with its anchor."""
    path, anchor = urldefrag(address)
    if path in anchors:
        return anchor in {"", *anchors[path]}
    return not anchor and (site / unquote(urlsplit(path).path).lstrip("/")).is_file()


def test_each_link_and_anchor_of_the_site_exists(site: Path, anchors: dict[str, set[str]]) -> None:
    links = {
        (page, link)
        for page in anchors
        for link in links_in(site / (page + "index.html" * page.endswith("/")).lstrip("/"))
        if not re.match(r"https?:|mailto:|data:", link)
    }
    assert len(links) > 2_000
    dead = [link for link in links if not leads_somewhere(urljoin(*link), site, anchors)]
    assert sorted(dead) == []


def test_each_link_of_the_package_page_is_absolute_and_exists(
    site: Path, anchors: dict[str, set[str]]
) -> None:
    page = Metadata(HEADERS, (ROOT / "README.md").read_text()).with_absolute_links()
    assert page.relative_links == []
    links = re.findall(r"\]\((\S+?)\)", page.page)
    of_site = [link.removeprefix("https://site.invalid") for link in links if "site" in link]
    assert len(of_site) > 10
    assert [link for link in of_site if not leads_somewhere(link, site, anchors)] == []
    source = "https://source.invalid/blob/v0.1.0/"
    of_source = [link.removeprefix(source) for link in links if link.startswith(source)]
    assert of_source
    assert [link for link in of_source if not (ROOT / link).is_file()] == []


def test_each_public_name_has_an_entry_in_the_api(anchors: dict[str, set[str]]) -> None:
    entries = anchors["/reference/api/evaluation/"]
    assert {f"flagstaff.{name}" for name in flagstaff.__all__} <= entries


def test_search_shows_the_page_that_a_newcomer_looks_for_first(site: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    searched = subprocess.run(
        [node, "-e", SEARCH, str(site), json.dumps([*SEARCHES])],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds(CHILD),
    )
    pages = dict(zip(SEARCHES, json.loads(searched.stdout), strict=True))
    # A new page may be as good as one of them, but not as most of them.
    others = {query: at for query, at in pages.items() if urldefrag(at).url != SEARCHES[query]}
    assert len(others) <= 1, others


def test_text_for_assistants_has_the_calls_as_they_are(
    site: Path, anchors: dict[str, set[str]]
) -> None:
    text = (site / "llms.txt").read_text()
    shown = re.findall(r"^- `([\w.]+)\((.*?)\)`: (\S.+)$", text, re.MULTILINE)
    assert [name for name, *_ in shown] == [name.replace(":", ".") for name in CALLS]
    for call, (_, arguments, summary) in zip(CALLS, shown, strict=True):
        function = resolve_name(call)
        names = [name for name in inspect.signature(function).parameters if name != "self"]
        assert re.findall(r"(\w+)(?:=(?:'.*?'|[^,]+))?(?:, |$)", arguments) == names
        assert (inspect.getdoc(function) or "").startswith(summary)
    # Other tests run the code of the README.
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```\w+\n.*?^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 3
    assert [block for block in blocks if block not in readme] == []
    linked = re.findall(r"\]\((\S+)\)", text)
    assert len(linked) > 30
    assert [link for link in linked if f"/{link}" not in anchors] == []


def test_site_is_not_built_without_the_extension(tmp_path: Path) -> None:
    built = build(tmp_path, "sys.modules['flagstaff._core'] = None")
    assert built.returncode == 1
    assert "the API needs the compiled extension, build it with `make docs`" in built.stderr
