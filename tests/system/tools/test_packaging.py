"""The contents of a release, and the rules of its workflows."""

from __future__ import annotations

import re
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from tests.conftest import ROOT
from tools.check_wheel import PARTS, problems_of, without_rust

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NAME = "django_flagstaff-0.1.0-cp310-abi3-manylinux_2_28_x86_64.whl"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_is_restricted_and_uses_pinned_actions_and_existing_targets(
    workflow: Path,
) -> None:
    read = yaml.safe_load(workflow.read_text())
    assert read["permissions"] == {"contents": "read"}
    more = {name: job["permissions"] for name, job in read["jobs"].items() if "permissions" in job}
    assert more == ({"publish": {"id-token": "write"}} if workflow.stem == "release" else {})
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
    assert names == linux | {"macos-x86_64", "macos-aarch64", "windows-x64"}


def test_release_is_published_with_all_german_texts_only() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]
    assert "messages" in jobs["publish"]["needs"]
    assert "make check-messages" in [step.get("run") for step in jobs["messages"]["steps"]]


def make_wheel(folder: Path, name: str = NAME, without: str = "", stray: str = "") -> Path:
    """A wheel of empty files."""
    wheel = folder / name
    with ZipFile(wheel, "w") as archive:
        for part in PARTS:
            if part != without:
                archive.writestr(part.replace(".dist-info", "django_flagstaff-0.1.0.dist-info"), "")
        if stray:
            archive.writestr(stray, "")
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
