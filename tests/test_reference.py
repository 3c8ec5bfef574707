"""The reference says what the code says: limits, settings, routes, commands, messages, tables, errors, metrics."""

from __future__ import annotations

import ast
import inspect
import pydoc
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
import pytest
from prometheus_client.metrics import MetricWrapperBase

import rotor
from rotor import errors, limits, telemetry, testing
from rotor.api.app import DECLARED
from rotor.api.problems import kinds, problem
from rotor.cli.main import commands
from rotor.engine.backoff import delay
from rotor.protocol import invocations, messages
from rotor.sdk import resources
from rotor.sdk.steps import Step
from rotor.sdk.sync_steps import SyncStep
from rotor.store.runs import RunWithSteps
from rotor.store.runs import Step as StepRow
from tests.docs import drawings
from tests.docs.commands import all_commands

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "rotor"
STORE = SOURCE / "store"


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """The cells of every row of a page's tables."""
    lines = (line for line in text.splitlines() if line.startswith("| "))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def first_cells(text: str) -> list[str]:
    return [name for row in rows(text) for name in re.findall(r"`([^`]+)`", row[0])]


# --- limits and settings


def shown(name: str, value: int | timedelta) -> str:
    """A limit as the page writes it."""
    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
        if seconds < 3_600:
            return f"{seconds} seconds"
        return f"{seconds // 3600} hours" if value <= timedelta(days=1) else f"{value.days:,} days"
    if not name.endswith("_BYTES"):
        return f"{value:,}"
    return f"{value // 1024**2} MiB" if value >= 1024**2 else f"{value // 1024} KiB"


def test_the_table_of_limits_is_the_table_of_the_code() -> None:
    table = {re.sub("`", "", row[0]): row[1] for row in rows(page("reference/limits.md")) if row[0].startswith("`")}
    assert table == {name: shown(name, value) for name, value in vars(limits).items() if name.isupper()}


def test_every_environment_variable_is_documented_and_no_other() -> None:
    read = {name for path in SOURCE.rglob("*.py") for name in read_variables(path)}
    assert set(first_cells(page("reference/config.md"))) == read


def read_variables(path: Path) -> Iterator[str]:
    """The names of variables that stand in the code of a file, its texts for people left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Constant(value=str(text)) if re.fullmatch(r"ROTOR_[A-Z_]+|DATABASE_URL", text):
                yield text


# --- HTTP


def test_every_operation_has_its_place_and_no_other_has() -> None:
    headings = set(re.findall(r"^### `((?:GET|POST|PUT|DELETE) /[^`]*)`$", page("reference/http.md"), re.MULTILINE))
    declared = {f"{one.method} {one.path}" for one in DECLARED}
    assert headings == declared | {"GET /openapi.json", "GET /v1/connect"}


def test_every_operation_tells_the_scope_that_it_needs() -> None:
    text = page("reference/http.md")
    for one in DECLARED:
        section = text.partition(f"### `{one.method} {one.path}`\n\n")[2]
        assert section.startswith(f"Scope `{one.scope}`.\n") or one.scope is None, one.path


def test_every_query_parameter_and_body_field_is_named() -> None:
    text = page("reference/http.md")
    for one in DECLARED:
        if one.tag == "protocol":
            continue
        for kind in (one.query, *(get_args(one.body) or [one.body])):
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                missing = [field.name for field in msgspec.structs.fields(kind) if f"`{field.name}`" not in text]
                assert not missing, one.name


def test_every_field_of_a_run_and_a_step_is_named() -> None:
    section = page("reference/http.md").partition("### `GET /v1/runs/{run_id}`")[2].partition("###")[0]
    for kind in (RunWithSteps, StepRow):
        assert [field.name for field in msgspec.structs.fields(kind) if f"`{field.name}`" not in section] == []


@pytest.mark.parametrize("status", kinds())
def test_every_problem_is_listed_under_its_status(status: int) -> None:
    kind = msgspec.json.decode(problem(status, "").body)["type"]
    assert [str(status), f"`{kind}`"] in [row[:2] for row in rows(page("reference/http.md"))]


# --- the command line


COMMANDS = dict(all_commands(commands, "rotor"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_named(name: str) -> None:
    section = page("reference/cli.md").partition(f"\n## {' '.join(name.split()[:2])}\n")[2].partition("\n## ")[0]
    assert re.search(rf"(`|## ){name}\b", section) or section, f"no section for {name}"
    assert len(name.split()) == 2 or f"`{name}" in section
    options = [option for one in COMMANDS[name].params if isinstance(one, click.Option) for option in one.opts]
    assert [option for option in options if f"`{option}`" not in section] == []


def test_no_command_or_option_is_invented() -> None:
    text = re.sub(r"```.*?```", "", page("reference/cli.md"), flags=re.DOTALL)
    known = {option for command in COMMANDS.values() for one in command.params for option in one.opts}
    assert set(re.findall(r"`(--?[a-z][a-z-]*)`", text)) - known == set()
    headings = {f"rotor {name}" for name in commands.commands}
    assert set(re.findall(r"^## (rotor \w+)$", text, re.MULTILINE)) == headings


# --- the SDK


@pytest.mark.parametrize("kind", [Step, SyncStep])
def test_every_step_and_its_parameters_are_named(kind: type[Any]) -> None:
    text = page("reference/steps.md")
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        if not name.startswith("_"):
            assert f"step.{name}" in text
            wanted = [one for one in inspect.signature(method).parameters if one != "self"]
            assert [one for one in wanted if not re.search(rf"\b{one}\b", text)] == []


def test_every_public_name_is_described_somewhere() -> None:
    text = page("reference/steps.md") + page("start/quickstart.md") + page("reference/errors.md")
    typing_only = {"Function", "EventTrigger", "CronTrigger", "NewEvent"}
    assert [name for name in rotor.__all__ if name not in typing_only and not re.search(rf"\b{name}\b", text)] == []


def documented() -> dict[str, Any]:
    """What the page of the Python API shows, by its path."""
    paths = re.findall(r"^::: (\S+)$", page("reference/python.md"), re.MULTILINE)
    return {path: pydoc.locate(path) for path in paths}


def test_the_python_api_is_shown_whole() -> None:
    shown_paths = set(documented())
    exported = {f"rotor.{name}" for name in rotor.__all__} | {f"rotor.testing.{name}" for name in testing.__all__}
    assert exported | {"rotor.errors"} <= shown_paths
    returned = {f"rotor.sdk.resources.{name}" for name in resources.__all__ if name != "NewEvent"}
    assert returned <= shown_paths


def public_callables() -> Iterator[tuple[str, Any]]:
    """Each function, class, method and property of the Python API."""
    things = {**documented(), **{f"rotor.errors.{name}": getattr(errors, name) for name in errors.__all__}}
    for path, thing in things.items():
        if inspect.isfunction(thing) or inspect.isclass(thing):
            yield path, thing
        if inspect.isclass(thing):
            own = ((name, value) for name, value in vars(thing).items() if not name.startswith("_"))
            yield from (
                (f"{path}.{name}", one) for name, one in own if inspect.isfunction(one) or isinstance(one, property)
            )


@pytest.mark.parametrize(
    ("path", "thing"), list(public_callables()), ids=lambda one: one if isinstance(one, str) else ""
)
def test_a_docstring_tells_what_each_parameter_is(path: str, thing: Any) -> None:
    told = thing.__doc__ or ""
    assert told
    if not inspect.isfunction(thing) or told.startswith("See `"):  # as its awaited twin
        return
    evident = {"self", "id", "args", "run_id", "event_id", "function_id", "message"}
    assert [name for name in inspect.signature(thing).parameters if name not in evident and name not in told] == []


def test_every_error_is_listed() -> None:
    listed = {re.sub(r"\(.*", "", name) for name in first_cells(page("reference/errors.md"))}
    assert set(errors.__all__) - {"RotorError"} == listed


# --- the protocol


def structs() -> list[type[msgspec.Struct]]:
    return [
        value
        for value in (*vars(messages).values(), *vars(invocations).values())
        if isinstance(value, type) and issubclass(value, messages.Struct) and value is not messages.Struct
    ]


@pytest.mark.parametrize("kind", structs(), ids=lambda kind: kind.__name__)
def test_every_message_and_each_of_its_fields_is_specified(kind: type[msgspec.Struct]) -> None:
    text = page("reference/protocol.md")
    fields = {field.name for field in msgspec.structs.fields(kind)}
    tag = kind.__struct_config__.tag
    if tag is None:
        assert re.search(rf"`?{kind.__name__}`?", text)
        assert [field for field in fields if f"`{field}`" not in text] == []
        return
    (row,) = [row for row in rows(text) if row[0] == f"`{tag}`"]
    assert set(re.findall(r"`(\w+)`", row[1])) == fields


def test_the_version_of_the_protocol_is_told() -> None:
    assert f"It is version {messages.PROTOCOL_VERSION}." in page("reference/protocol.md")


# --- the database


def test_every_table_and_constraint_is_named() -> None:
    text = page("reference/sql.md")
    schema = "\n".join(path.read_text(encoding="utf-8") for path in sorted((STORE / "migrations").glob("*.sql")))
    tables = set(re.findall(r"^CREATE TABLE (\w+)", schema, re.MULTILINE)) | {"migrations"}
    assert set(first_cells(text)) == tables
    named = re.findall(r"^(?: +CONSTRAINT|CREATE DOMAIN) (\w+)", schema, re.MULTILINE)
    assert [name for name in named if f"`{name}`" not in text] == []


def test_every_finding_of_the_doctor_is_explained() -> None:
    sql = (STORE / "queries" / "check_invariants.sql").read_text(encoding="utf-8")
    findings = set(re.findall(r"SELECT '([^']+)'", sql))
    assert {row[0] for row in rows(page("operate/doctor.md"))} - {"finding"} == findings


# --- drawings and tables of concepts


def test_the_state_machines_are_drawn_as_the_code_has_them() -> None:
    drawn = re.findall(r"```mermaid\n(.*?)\n```", page("concepts/states.md"), re.DOTALL)
    assert drawn == [drawings.RUNS, drawings.STEPS]


def test_the_table_of_backoffs_is_the_code_s() -> None:
    (told,) = [row[1:] for row in rows(page("concepts/retries.md")) if row[0] == "next try after"]
    assert told == [spoken(delay(failures, jitter=0.5)) for failures in range(1, 14)]


def spoken(span: timedelta) -> str:
    seconds = round(span.total_seconds())
    if seconds == 3_600:
        return "1 h"
    if seconds < 100:
        return f"{seconds} s"
    return f"{seconds // 60} m {seconds % 60} s"


def test_every_metric_is_named() -> None:
    text = page("operate/monitoring.md")
    metrics = [value for value in vars(telemetry).values() if isinstance(value, MetricWrapperBase)]
    names = [metric.name for wrapper in metrics for metric in wrapper.describe()]
    assert names
    assert [name for name in names if f"`{name}" not in text] == []
