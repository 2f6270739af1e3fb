"""The contents of a release, and the rules of its workflows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml

from tests.conftest import ROOT
from tools.check_wheel import PARTS, problems_of, without_rust

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NAME = "django_flagstaff-0.1.0-cp310-abi3-manylinux_2_28_x86_64.whl"


def steps_of(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_has_read_permissions_except_for_publishing(workflow: Path) -> None:
    read = yaml.safe_load(workflow.read_text())
    assert read["permissions"] == {"contents": "read"}
    more = {name: job["permissions"] for name, job in read["jobs"].items() if "permissions" in job}
    assert more == ({"publish": {"id-token": "write"}} if workflow.stem == "release" else {})


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_actions_are_pinned_by_version(workflow: Path) -> None:
    used = [step["uses"] for step in steps_of(workflow) if "uses" in step]
    assert used
    assert [use for use in used if not re.fullmatch(r"[\w-]+/[\w-]+@v\d+(\.\d+)*", use)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_uses_existing_targets_and_no_urls(workflow: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = [step["run"] for step in steps_of(workflow) if "run" in step]
    for target in re.findall(r"make ([a-z-]+)", "\n".join(commands)):
        assert f"\n{target}:" in makefile
    for path in re.findall(r"^\.\S+", "\n".join(commands), re.MULTILINE):
        assert (ROOT / path).is_file()
    assert "://" not in workflow.read_text()


def test_release_builds_every_platform() -> None:
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    names = {row["name"] for row in release["jobs"]["wheel"]["strategy"]["matrix"]["include"]}
    linux = {
        f"{libc}-{cpu}" for libc in ("manylinux", "musllinux") for cpu in ("x86_64", "aarch64")
    }
    assert names == linux | {"macos-x86_64", "macos-aarch64", "windows-x64"}


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


def test_complete_wheel_has_no_problems(tmp_path: Path) -> None:
    assert problems_of(make_wheel(tmp_path)) == []


@pytest.mark.parametrize("part", PARTS)
def test_wheel_without_a_part_is_reported(part: str, tmp_path: Path) -> None:
    assert problems_of(make_wheel(tmp_path, without=part)) == [f"has no {part}"]


def test_wheel_with_a_stray_file_is_reported(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, stray="tests/support/settings.py")
    assert problems_of(wheel) == ["has tests/support/settings.py"]


def test_wheel_for_one_python_version_is_reported(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, name=NAME.replace("cp310-abi3", "cp311-cp311"))
    assert problems_of(wheel) == ["is not for every Python from 3.10 on"]


def test_too_large_wheel_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
