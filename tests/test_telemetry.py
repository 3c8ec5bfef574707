"""What `/metrics` tells is what Prometheus reads, under names that are as it asks."""

from __future__ import annotations

import re

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from rotor import telemetry

LABELS = {"operation", "status", "queue", "le"}
"""Each has few values, and none that somebody chose."""


def families() -> list[Metric]:
    """Rotor's own, with a sample of each label."""
    telemetry.REQUESTS.labels("alive", "200")
    telemetry.REQUEST_DURATION.labels("alive")
    telemetry.RUNS_ENDED.labels("failed")
    telemetry.COMMIT_DURATION.labels("run commits")
    telemetry.QUEUED_WRITES.labels("run commits")
    read = text_string_to_metric_families(telemetry.exposition().decode())
    return [family for family in read if family.name.startswith("rotor_")]


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_a_metric_is_named_and_labelled_as_prometheus_asks(family: Metric) -> None:
    assert re.fullmatch(r"rotor(_[a-z]+)+", family.name)
    assert family.documentation.endswith(".")
    # Times are in seconds, and nothing is in parts or multiples of a base unit.
    assert not re.search(r"milli|micro|nano|minutes|hours|kilo|mega|percent|_ms$|_kb$|_mb$", family.name)
    assert (family.type == "histogram") == family.name.endswith("_duration_seconds")
    names = {sample.name for sample in family.samples}
    match family.type:
        case "counter":
            assert names == {f"{family.name}_total"}
        case "gauge":
            assert names == {family.name}
            assert not family.name.endswith(("_total", "_count", "_sum"))
        case "histogram":
            assert names == {f"{family.name}_{part}" for part in ("bucket", "count", "sum")}
        case kind:
            raise AssertionError(kind)
    assert {label for sample in family.samples for label in sample.labels} <= LABELS


def test_every_metric_of_the_table_is_told() -> None:
    declared = {getattr(telemetry, name)._name for name in telemetry.__all__ if name.isupper()}
    assert {family.name for family in families()} == declared
