"""What `deploy/` holds fits the program: its commands, settings, probes and times are those that there are."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rotor.api.app import DECLARED
from rotor.cli.main import commands
from rotor.sdk.worker import LAST_WORDS_SECONDS
from tests.docs import shell
from tests.test_reference import first_cells, page

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
SETTINGS = set(first_cells(page("reference/config.md")))


def grace_seconds(arguments: list[str]) -> float:
    """What `rotor worker` is told to wait for its runs."""
    context = commands.commands["worker"].make_context("worker", arguments[1:])
    seconds: float = context.params["grace"].total_seconds()
    return seconds


def objects() -> Iterator[dict[str, Any]]:
    for path in MANIFESTS:
        yield from yaml.safe_load_all(path.read_text(encoding="utf-8"))


def pods() -> list[tuple[str, dict[str, Any]]]:
    return [
        (one["metadata"]["name"], one["spec"]["template"]["spec"])
        for one in objects()
        if "template" in one.get("spec", {})
    ]


def unit(path: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(path.read_text(encoding="utf-8"))
    return parser["Service"]


# --- systemd


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_a_command_that_there_is_and_waits_for_its_end(path: Path) -> None:
    service = unit(path)
    for key in ("ExecStartPre", "ExecStart"):
        if key in service:
            program, *arguments = shlex.split(service[key])
            assert program.endswith("/rotor")
            shell.parse(arguments)
    arguments = shlex.split(service["ExecStart"])[1:]
    if arguments[0] == "worker":
        assert int(service["TimeoutStopSec"]) > grace_seconds(arguments) + LAST_WORDS_SECONDS


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    for path in UNITS:
        # Its programs are not installed here, which alone it would complain of.
        text = re.sub(r"^(ExecStart\w*)=\S+", r"\1=/bin/true", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
        said = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(tmp_path / path.name)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert [line for line in said.stderr.splitlines() if path.stem in line] == []


# --- Kubernetes


def test_kustomize_takes_every_manifest_that_there_is() -> None:
    (customised,) = [one for one in objects() if one["kind"] == "Kustomization"]
    assert {*customised["resources"], "kustomization.yaml"} == {path.name for path in MANIFESTS}
    images = {container["image"] for _, pod in pods() for container in pod["containers"]}
    assert {image["name"] for image in customised["images"]} == images


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here")
def test_kubectl_puts_the_manifests_together() -> None:
    said = subprocess.run(["kubectl", "kustomize", DEPLOY / "kubernetes"], capture_output=True, text=True, check=True)
    made = list(yaml.safe_load_all(said.stdout))
    assert {one["metadata"].get("namespace", "rotor") for one in made} == {"rotor"}
    assert "image: rotor\n" not in said.stdout


@pytest.mark.parametrize(("name", "pod"), pods(), ids=[name for name, _ in pods()])
def test_a_pod_runs_a_command_that_there_is_with_settings_that_there_are(name: str, pod: dict[str, Any]) -> None:
    for container in pod["containers"]:
        shell.parse(container["args"])
        assert {one["name"] for one in container.get("env", [])} <= SETTINGS
        if container["args"][0] == "worker":
            kept = pod.get("terminationGracePeriodSeconds", 30)
            assert kept > grace_seconds(container["args"]) + LAST_WORDS_SECONDS
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True


def test_probes_and_ports_are_those_of_the_server() -> None:
    paths = {one.path for one in DECLARED}
    (server,) = [pod["containers"][0] for name, pod in pods() if name == "rotor-server"]
    asked = [value["httpGet"]["path"] for key, value in server.items() if key.endswith("Probe")]
    assert len(asked) == 3
    assert set(asked) <= paths
    ports = {str(one["containerPort"]) for one in server["ports"]}
    assert ports == {server["args"][server["args"].index("--port") + 1]}
    for one in objects():
        if one["kind"] == "Deployment":
            notes = one["spec"]["template"]["metadata"].get("annotations", {})
            assert notes.get("prometheus.io/path", "/metrics") in paths
            assert one["spec"]["selector"]["matchLabels"] == one["spec"]["template"]["metadata"]["labels"]


# --- the image


def test_the_image_is_built_from_what_there_is_and_runs_a_command_that_there_is() -> None:
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n", "", text).splitlines()
    for line in lines:
        if line.startswith("COPY") and "--from" not in line:
            assert [name for name in line.split()[1:-1] if not (ROOT / name).exists()] == []
    (entry,) = [json.loads(line.partition(" ")[2]) for line in lines if line.startswith("ENTRYPOINT")]
    (default,) = [json.loads(line.partition(" ")[2]) for line in lines if line.startswith("CMD")]
    assert entry == ["rotor"]
    shell.parse(default)
    settings = re.findall(r"\b(ROTOR_[A-Z_]+)=", text)
    assert set(settings) <= SETTINGS


def locked(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """The version of each package of a lock file, and the hashes of its files."""
    blocks = re.split(r"\n(?=[a-z0-9])", path.read_text(encoding="utf-8"))
    return {
        name: (version, frozenset(re.findall(r"sha256:\w+", block)))
        for block in blocks
        for name, version in re.findall(r"^([a-z0-9][\w.-]*)==([^ ;]+)", block)
    }


def test_the_image_takes_what_a_server_needs_in_the_versions_and_files_that_were_tested() -> None:
    taken = locked(DEPLOY / "requirements.lock")
    assert taken.items() <= locked(ROOT / "requirements.lock").items()
    assert all(hashes for _, hashes in taken.values())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["server"], *extras["otel"], *extras["encryption"]]
    assert {re.split(r"[^\w.-]", one)[0] for one in needed} <= taken.keys()
