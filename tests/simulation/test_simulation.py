"""Random programs under random schedules and faults keep every promise; and faults of the engine itself are found.

`python -m tests.simulation` runs more of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests import campaign
from tests.simulation import sdk
from tests.simulation.campaign import Case, Totals, draw_case, explain, run_case, run_seeds, shrink
from tests.simulation.mutations import MUTATIONS
from tests.simulation.oracle import ViolationError
from tests.simulation.programs import draw_program
from tests.simulation.world import ACTIONS, FAULTS, World

ENGINE_PROGRAMS = 400
SDK_PROGRAMS = 60
SEEDS_MAX = 200
"""How many a fault of the engine may survive."""


def count(simulate: Callable[[], Totals]) -> None:
    """Simulate, and add what that did; it raises at the first promise that is broken."""
    campaign.count("violations", 0)
    try:
        totals = simulate()
    except ViolationError:
        campaign.count("violations")
        raise
    campaign.count("simulated programs", totals.programs)
    campaign.count("simulated runs", totals.runs)
    campaign.count("simulated messages, events and timers", totals.arrivals)
    campaign.count("simulated faults injected", totals.faults)
    campaign.count("simulated re-executions, each explained by a fault", totals.repeated)


def test_the_engine_keeps_every_promise() -> None:
    count(lambda: run_seeds(1, count=ENGINE_PROGRAMS))


def test_the_sdk_and_the_engine_keep_every_promise_together() -> None:
    count(lambda: run_seeds(1, count=SDK_PROGRAMS, run=sdk.run_case))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are of Python 3.12")
def test_they_keep_it_where_tasks_are_eager() -> None:
    count(lambda: run_seeds(81001328, count=SDK_PROGRAMS, run=sdk.run_case_eagerly))


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_fault_of_the_engine_is_found(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS[mutation](monkeypatch)
    assert any(fails(draw_case(seed)) for seed in range(SEEDS_MAX))


def test_what_fails_names_its_seed_and_is_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS["a wait that ends wakes nobody"](monkeypatch)
    with pytest.raises(ViolationError, match=r"seed \d+ breaks a promise") as caught:
        run_seeds(1, count=SEEDS_MAX)
    assert "the smallest case that still does" in str(caught.value)
    case, reason = shrink(next(case for case in map(draw_case, range(SEEDS_MAX)) if fails(case)))
    assert isinstance(reason, ViolationError)
    assert len(case.schedule) <= 10


def fails(case: Case) -> bool:
    try:
        run_case(case)
    except (AssertionError, KeyError):
        return True
    return False


def test_a_campaign_without_faults_fails() -> None:
    with pytest.raises(ViolationError, match="no fault was injected"):
        run_seeds(1, count=0)


NAMES = st.sampled_from([name for name, weight in (ACTIONS | FAULTS).items() for _ in range(weight)])
PICKS = st.integers(0, 2**12 - 1)


class Deployment(RuleBasedStateMachine):
    """The same world, moved by hypothesis, which knows how to make a failure small."""

    @initialize(seed=st.integers(0, 2**16))
    def draw(self, seed: int) -> None:
        self.case = Case(seed, draw_program(Random(seed)), [])
        self.happened: list[str] = []
        self.world = World(self.case.program, seed, trace=self.happened.append)
        self.act("start", 0)

    @rule(name=NAMES, pick=PICKS)
    def act(self, name: str, pick: int) -> None:
        self.case = replace(self.case, schedule=[*self.case.schedule, (name, pick)])
        with self.explained():
            self.world.perform((name, pick))

    def teardown(self) -> None:
        if hasattr(self, "world"):
            with self.explained():
                self.world.heal()
                self.world.oracle.judge()

    @contextmanager
    def explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            error.add_note(explain(self.case, self.happened))
            raise


TestDeployment = Deployment.TestCase
TestDeployment.settings = settings(
    max_examples=25,
    stateful_step_count=60,
    suppress_health_check=list(HealthCheck),
    phases=set(Phase) - {Phase.explain},  # which takes minutes, and tells less than what happened
)
