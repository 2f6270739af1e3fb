"""The documentation is correct: its code runs, and the names in it exist."""

import doctest
import os
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import AnonymousUser, User
from django.core.management import get_commands, load_command_class
from django.http import Http404, HttpRequest, HttpResponse
from django.template import Context, Engine
from django.test.utils import isolate_apps

from flagstaff.models import FeatureFlag, KeyValueStore
from tests.conftest import ROOT
from tests.support.pages import blocks_in, code_of, rows_of
from tests.support.views import request_of
from tools.pictures import DIRECTORY, PICTURES, SHEET

README = ROOT / "README.md"
COMMANDS = ROOT / "docs" / "reference" / "commands.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
PAGES.append(ROOT / "django_example" / "README.md")


class Block(NamedTuple):
    """A block of code in a page."""

    page: Path
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


BLOCKS = [
    Block(page, code.line, code.language, code.text) for page in PAGES for code in blocks_in(page)
]


def written_in(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


# Blocks marked "py" also run in a project of their own, in other tests.
# Other tests run the blocks that import these, in a project that has them or with stand-ins.
OTHER_PROJECTS = (
    "from unfold.admin",
    "from common.models",
    "from constance import",
    "from wagtail",
    "sentry_sdk.init(",
    # It serves another package under the name of waffle for the whole process.
    "flagstaff.contrib.waffle.install()",
)
PYTHON = [
    block
    for block in written_in("python", "py")
    if not any(name in block.code for name in OTHER_PROJECTS)
]


def test_pages_have_code_to_test() -> None:
    assert {block.language for block in BLOCKS} >= {"python", "pycon", "django", "console"}


def test_make_targets_in_pages_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for block in written_in("sh", "console"):
        for target in re.findall(r"\bmake ([a-z-]+)", block.code):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), (block, target)


def test_installation_works_before_the_first_release() -> None:
    is_released = "\n## 0" in (ROOT / "CHANGELOG.md").read_text()
    for block in written_in("console"):
        for line in block.code.splitlines():
            # An extra of the installed package needs no release.
            if re.search(r"pip install .*django-flagstaff(?!\[)", line):
                assert ("/django-flagstaff" in line) is not is_released, block


# Those of the page of commands are run by another test.
COMMAND_LINES = {
    line
    for block in written_in("console")
    if block.page != COMMANDS
    for line in re.findall(r"(?m)^\$ (?:\w+=\S+ )*python manage.py (.+)", block.code)
}


@pytest.mark.parametrize("line", sorted(COMMAND_LINES))
def test_command_in_a_page_is_accepted_by_its_parser(line: str) -> None:
    # The tests have only this alias.
    line = line.replace("--database flags", "--database default")
    name, *arguments = shlex.split(line, comments=True)
    command = load_command_class(get_commands()[name], name)
    command.create_parser("manage.py", name).parse_args(arguments)


def new_page(request: HttpRequest, *arguments: Any) -> HttpResponse:
    return HttpResponse("new")


def expected_names() -> dict[str, Any]:
    """Returns the names that the code in the pages expects."""
    return {
        # Django derives a model's app from its module.
        "__name__": "flagstaff.models",
        "os": os,
        "BASE_DIR": ROOT,
        "DATABASES": {"default": {"ENGINE": "django.db.backends.postgresql"}},
        "INSTALLED_APPS": [],
        "MIDDLEWARE": [],
        "TEMPLATES": [{"OPTIONS": {}}],
        "one_page_checkout": new_page,
        "classic_checkout": lambda request, gateway: HttpResponse(f"paid through {gateway}"),
    }


def run(block: Block) -> dict[str, Any]:
    names = expected_names()
    with isolate_apps("flagstaff"):
        exec(compile(block.code, str(block), "exec", dont_inherit=True), names)
    return names


# The variables that settings in the pages read.
ENVIRONMENT = (
    "FLAGSTAFF_PASSWORD",
    "FLAGS_WEBHOOK_SECRET",
    "SLACK_WEBHOOK_URL",
    "SENTRY_FLAGS_URL",
    "SENTRY_FLAGS_SECRET",
)


@pytest.mark.django_db
@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_runs(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "not a secret")
    # A block that registers an admin does not replace one that the URLs know already.
    registry: Any = site._registry
    for model, model_admin in [*registry.items()]:
        monkeypatch.setitem(registry, model, model_admin)
    # The project of the quickstart.
    project = SimpleNamespace(checkout=new_page, Order=None)
    for module in ("shop", "shop.views", "shop.models"):
        monkeypatch.setitem(sys.modules, module, project)
    run(block)


@pytest.mark.django_db
@pytest.mark.parametrize("block", written_in("pycon"), ids=str)
def test_interactive_session_prints_what_the_page_shows(block: Block) -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=50)
    output: list[str] = []
    session = doctest.DocTestParser().get_doctest(block.code, expected_names(), str(block), None, 0)
    assert session.examples
    results = doctest.DocTestRunner().run(session, out=output.append)
    assert results.failed == 0, "".join(output)


def readme(language: str, having: str) -> Block:
    [block] = [b for b in written_in(language) if b.page == README and having in b.code]
    return block


@pytest.mark.django_db
def test_readme_view_returns_the_checkout_of_the_flag() -> None:
    checkout = run(readme("python", "def checkout"))["checkout"]
    alice = User.objects.create(username="alice")
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)
    assert checkout(request_of(alice)).content == b"paid through stripe"
    flag.allowed_users.add(alice)
    assert checkout(request_of(alice)).content == b"new"
    KeyValueStore.objects.create(key="payment_gateway", value="paypal")
    assert checkout(request_of(AnonymousUser())).content == b"paid through paypal"


@pytest.mark.django_db
def test_readme_decorator_returns_404_without_the_flag() -> None:
    names = run(readme("python", "flag_required"))
    assert names["reviews"](request_of(AnonymousUser())).content == b"Reviews open soon."
    closed = names["flag_required"]("beta_reviews")(new_page)
    with pytest.raises(Http404):
        closed(request_of(AnonymousUser()))


@pytest.mark.django_db
@pytest.mark.parametrize(("enabled", "greeting"), [(True, "Summer is here."), (False, "Welcome.")])
def test_readme_template_renders_the_branch_of_the_flag(enabled: bool, greeting: str) -> None:
    run(readme("python", "SUPPORT_MAIL"))
    libraries = {"flagstaff": "flagstaff.templatetags.flagstaff"}
    template = Engine(libraries=libraries).from_string(code_of("../README.md", "django")[0])
    FeatureFlag.objects.create(key="summer_banner", enabled=enabled, rollout_percent=100)
    assert template.render(Context()).split("\n") == ["", greeting, "help@example.com", ""]


def test_every_reason_has_a_row_in_the_order_of_evaluation() -> None:
    source = (ROOT / "src" / "evaluate.rs").read_text()
    reasons = set(re.findall(r'Self::\w+ => "([A-Z_]+)"', source))
    assert reasons
    shown = [reason for *_, reason in rows_of("reference/reasons.md", "condition")]
    assert reasons == {reason.split(",")[0] for reason in shown}


FOLDERS = ("benches", "django_example", "docs", "fuzz", "python", "src", "tests", "tools")
# What looks like a path of the project.
PATH = r"(?<![\w/.:@])(?:[\w-]+/)*[\w-]+(?:\.(?:html|json|md|py|rs|sql|toml)\b|/(?![\w]))"


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_paths_in_a_page_exist(name: str) -> None:
    existing = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    existing += [path for path in ROOT.iterdir() if path.is_file() or path.name in FOLDERS]
    paths = "".join(f"/{path.relative_to(ROOT)}{'/' * path.is_dir()}\n" for path in existing)
    named = sorted(set(re.findall(PATH, (ROOT / name).read_text())))
    assert [path for path in named if f"/{path}\n" not in paths] == []


LINKS = [
    (page, target)
    for page in PAGES
    for target in sorted(set(re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())))
]


def test_links_point_to_files() -> None:
    assert [link for link in LINKS if not (link[0].parent / link[1]).is_file()] == []


def test_path_in_the_readme_of_the_example_exists() -> None:
    example = ROOT / "django_example"
    for row in re.findall(r"^\| (`.*?) \|", (example / "README.md").read_text(), re.MULTILINE):
        for path in re.findall(r"`([^`]+)`", row):
            assert (example / path).exists(), path


def test_readme_is_short() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 120
    assert len(text.encode()) <= 6_000


def test_index_links_to_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {index.parent / target for page, target in LINKS if page == index}
    assert set(ROOT.glob("docs/**/*.md")) - linked == {index}


def test_script_makes_every_picture_that_a_page_shows() -> None:
    shown = {
        name for page in PAGES for name in re.findall(r"images/([\w-]+)\.png", page.read_text())
    }
    assert shown == set(PICTURES)
    assert {path.stem for path in DIRECTORY.iterdir()} == {*PICTURES, SHEET}
