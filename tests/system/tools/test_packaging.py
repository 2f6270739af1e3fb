"""The contents of a release, and the rules of its workflows."""

import io
import os
import re
import subprocess
import tarfile
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from tests.conftest import ROOT
from tools import check_release
from tools.check_wheel import PARTS, problems_of, without_rust
from tools.package_page import Metadata, metadata_of, parse, rewrite_source, rewrite_wheel

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MORE_PERMISSIONS = {
    "release": {"publish": {"id-token": "write"}},
    "docs": {"pages": {"contents": "write"}},
}
NAME = "django_flagstaff-0.1.0-cp310-abi3-manylinux_2_28_x86_64.whl"
INFO = "django_flagstaff-0.1.0.dist-info"
HEADERS = (
    "Name: django-flagstaff\n"
    "Version: 0.1.0\n"
    "Project-URL: Documentation, https://docs.example/0.1/\n"
    "Project-URL: Source, https://source.example/flagstaff"
)
CHANGELOG = "## 0.1.0 (2027-01-31)\n"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_is_restricted_and_uses_pinned_actions_and_existing_targets(
    workflow: Path,
) -> None:
    read = yaml.safe_load(workflow.read_text())
    assert read["permissions"] == {"contents": "read"}
    more = {name: job["permissions"] for name, job in read["jobs"].items() if "permissions" in job}
    assert more == MORE_PERMISSIONS.get(workflow.stem, {})
    steps = [step for job in read["jobs"].values() for step in job["steps"]]
    used = re.findall(r"uses: (.+)", workflow.read_text())
    assert used
    # A tag of an action can be moved; the commit cannot. The version is for people and for updates.
    pinned = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [use for use in used if not pinned.fullmatch(use)] == []
    makefile = (ROOT / "Makefile").read_text()
    commands = "\n".join(step["run"] for step in steps if "run" in step)
    for target in re.findall(r"make ([a-z-]+)", commands):
        assert f"\n{target}:" in makefile
    for path in re.findall(r"^\.\S+", commands, re.MULTILINE):
        assert (ROOT / path).is_file()
    assert "://" not in workflow.read_text()


def test_release_builds_every_platform() -> None:
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    names = {row["name"] for row in release["jobs"]["wheel"]["strategy"]["matrix"]["include"]}
    linux = {
        f"{libc}-{cpu}" for libc in ("manylinux", "musllinux") for cpu in ("x86_64", "aarch64")
    }
    assert names == linux | {"macos-x86_64", "macos-aarch64"}


def test_release_tests_each_wheel_on_postgresql() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]
    runs = [step.get("run", "") for step in jobs["wheel"]["steps"]]
    checks = [position for position, run in enumerate(runs) if "check_wheel" in run]
    assert len(checks) == 2
    assert runs.index(".ci/postgres") < min(checks)


def test_release_is_published_with_all_german_texts_only() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]
    assert "messages" in jobs["publish"]["needs"]
    assert "make check-messages" in [step.get("run") for step in jobs["messages"]["steps"]]


def make_wheel(
    folder: Path, name: str = NAME, without: str = "", stray: str = "", page: str = ""
) -> Path:
    """A wheel of empty files but for its metadata."""
    wheel = folder / name
    contents = dict.fromkeys(PARTS, b"")
    contents[".dist-info/METADATA"] = metadata = f"{HEADERS}\n\n{page}".encode()
    digest = urlsafe_b64encode(sha256(metadata).digest()).decode().rstrip("=")
    line = f"{INFO}/METADATA,sha256={digest},{len(metadata)}\n"
    contents[".dist-info/RECORD"] = f"{line}{INFO}/RECORD,,\n".encode()
    contents.pop(without, None)
    if stray:
        contents[stray] = b""
    with ZipFile(wheel, "w") as archive:
        for part, content in contents.items():
            archive.writestr(part.replace(".dist-info", INFO), content)
    return wheel


def test_incomplete_stray_and_large_wheels_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert problems_of(make_wheel(tmp_path)) == []
    for part in PARTS:
        assert problems_of(make_wheel(tmp_path, without=part)) == [f"has no {part}"]
    stray = make_wheel(tmp_path, stray="tests/support/settings.py")
    assert problems_of(stray) == ["has tests/support/settings.py"]
    for_one = make_wheel(tmp_path, name=NAME.replace("cp310-abi3", "cp311-cp311"))
    assert problems_of(for_one) == ["is not for every Python from 3.10 on"]
    relative = make_wheel(tmp_path, page="[quickstart](docs/quickstart.md)")
    assert problems_of(relative) == ["has the relative link docs/quickstart.md on its page"]
    monkeypatch.setattr("tools.check_wheel.LARGEST", 10)
    [problem] = problems_of(make_wheel(tmp_path))
    assert problem.endswith("bytes, more than 10")


def test_environment_without_rust_has_no_cargo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, tool in [("rust", "cargo"), ("plain", "python")]:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / tool).touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/rust:{tmp_path}/plain")
    assert without_rust()["PATH"] == f"{tmp_path}/plain"


@pytest.mark.parametrize("name", ["fault", "idea"])
def test_issue_form_asks_questions_with_unique_ids(name: str) -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text())
    assert form.keys() == {"name", "description", "labels", "body"}
    questions = [part for part in form["body"] if part["type"] != "markdown"]
    assert {part["type"] for part in questions} <= {"input", "textarea"}
    assert len({part["id"] for part in questions}) == len(questions)
    assert all(part["attributes"]["label"] for part in questions)


@pytest.mark.parametrize(
    ("link", "absolute"),
    [
        ("docs/quickstart.md", "https://docs.example/0.1/quickstart/"),
        ("docs/index.md", "https://docs.example/0.1/"),
        ("docs/how-to/views.md#types", "https://docs.example/0.1/how-to/views/#types"),
        ("docs/images/crowd.png", "https://docs.example/0.1/images/crowd.png"),
        ("SECURITY.md", "https://source.example/flagstaff/blob/v0.1.0/SECURITY.md"),
        ("https://postgresql.example/", "https://postgresql.example/"),
        ("#install", "#install"),
    ],
)
def test_link_of_the_page_leads_to_the_documentation_or_the_source(
    link: str, absolute: str
) -> None:
    assert Metadata(HEADERS, f"![a]({link}) b").with_absolute_links().page == f"![a]({absolute}) b"


def test_rewritten_wheel_has_absolute_links_and_a_true_record(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, page="[security](SECURITY.md)")
    rewrite_wheel(wheel)
    page = "[security](https://source.example/flagstaff/blob/v0.1.0/SECURITY.md)"
    assert metadata_of(wheel) == (HEADERS, page)
    expected = make_wheel(tmp_path, "expected.whl", page=page)
    with ZipFile(wheel) as rewritten, ZipFile(expected) as made:
        for name in made.namelist():
            assert rewritten.read(name) == made.read(name)


def test_rewritten_source_archive_has_absolute_links(tmp_path: Path) -> None:
    source = tmp_path / "django_flagstaff-0.1.0.tar.gz"
    contents = {"PKG-INFO": f"{HEADERS}\n\n[a](LICENSE)".encode(), "README.md": b"[a](LICENSE)"}
    with tarfile.open(source, "w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"django_flagstaff-0.1.0/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    rewrite_source(source)
    with tarfile.open(source) as rewritten:
        read = {member.name: rewritten.extractfile(member) for member in rewritten}
        texts = [file.read() for file in read.values() if file]
    assert [name.partition("/")[2] for name in read] == [*contents]
    assert parse(texts[0]).page == "[a](https://source.example/flagstaff/blob/v0.1.0/LICENSE)"
    assert texts[1] == contents["README.md"]


def test_release_with_addresses_version_and_date_has_no_problem() -> None:
    assert [*check_release.problems_of("v0.1.0", Metadata(HEADERS, ""), CHANGELOG)] == []


@pytest.mark.parametrize(
    ("tag", "headers", "changelog", "problem"),
    [
        ("v0.2.0", HEADERS, CHANGELOG, "the tag is v0.2.0, but pyproject.toml has version 0.1.0"),
        ("v0.1.0", HEADERS, "## Unreleased\n", 'CHANGELOG.md needs the heading "## 0.1.0 (date)"'),
        ("v0.1.0", HEADERS.replace("source.example", "x.invalid"), CHANGELOG, "is a placeholder"),
        ("v0.1.0", HEADERS.replace("/0.1/", "/0.2/"), CHANGELOG, 'must end with "/0.1/"'),
    ],
)
def test_release_that_is_not_ready_is_refused(
    tag: str, headers: str, changelog: str, problem: str
) -> None:
    [found_problem] = check_release.problems_of(tag, Metadata(headers, ""), changelog)
    assert problem in found_problem


NAMES = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")


def run(folder: Path, *command: str) -> str:
    """Runs a command, for which git knows a person, and returns its output."""
    environment = os.environ | dict.fromkeys(NAMES, "docs")
    return subprocess.run(
        command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def test_documentation_is_published_by_minor_version_and_the_newest_is_first(
    tmp_path: Path,
) -> None:
    published, clone = tmp_path / "published", tmp_path / "clone"
    run(tmp_path, "git", "init", "--quiet", "--bare", str(published))
    run(tmp_path, "git", "clone", "--quiet", str(published), str(clone))
    run(clone, "git", "commit", "--quiet", "--allow-empty", "--message", "docs: begin")
    page = clone / "target" / "docs" / "index.html"
    page.parent.mkdir(parents=True)
    for reference in ("heads/main", "tags/v0.9.0", "tags/v0.10.0", "tags/v0.9.1"):
        page.write_text(reference)
        run(clone, str(ROOT / ".ci" / "publish_docs"), f"refs/{reference}")
    shown = {
        name: run(published, "git", "show", f"gh-pages:{name}/index.html")
        for name in ("dev", "0.9", "0.10")
    }
    assert shown == {"dev": "heads/main", "0.9": "tags/v0.9.1", "0.10": "tags/v0.10.0"}
    assert "url=0.10/" in run(published, "git", "show", "gh-pages:index.html")
    assert run(clone, "git", "worktree", "list").count("\n") == 1
