"""Runs the workflows on a real server, against an enrichment service that fails in every way a real one does."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from rotor import SyncRotor

HANGS_UP = 0
"""Stands for a status where there is no answer."""


class Service(ThreadingHTTPServer):
    """Answers by the name of the person that is asked for, and counts the questions."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: Counter[str] = Counter()
        self.tokens: set[str | None] = set()
        self.closing = threading.Event()
        self.twins = threading.Barrier(2, timeout=60)

    def person(self, email: str) -> tuple[int, Any]:
        self.asked[email] += 1
        match email.partition("@")[0], self.asked[email]:
            case ("busy", 1):
                return 429, None
            case ("flaky", 1):
                return 503, None
            case ("refused", _):
                return 400, None
            case ("nobody", _):
                return 404, None
            case ("slow", _):
                self.closing.wait(60)
                return HANGS_UP, None
            case ("castor" | "pollux", _):
                self.twins.wait()
        return 200, {"name": "Ada", "title": "Chief Engineer"}


class Handler(BaseHTTPRequestHandler):
    """One request of the workflow."""

    server: Service

    def do_GET(self) -> None:
        self.server.tokens.add(self.headers["Authorization"])
        place = urlsplit(self.path)
        query = parse_qs(place.query)
        if place.path == "/people":
            status, answer = self.server.person(query["email"][0])
        else:
            status, answer = 200, {"name": query["domain"][0], "employees": 120}
        if status == HANGS_UP:
            return
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed for each request."""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    server = Service()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def environment(service: Service) -> dict[str, str]:
    """Settings under which a test takes seconds."""
    return {
        "ENRICHMENT_URL": f"http://127.0.0.1:{service.server_port}",
        "ENRICHMENT_API_KEY": "secret",
        "ENRICHMENT_CONTACT_TIMEOUT": "12s",
        "ENRICHMENT_TIMEOUT": "30s",
    }


def enrich(rotor: SyncRotor, *names: str) -> Any:
    """The output of a campaign with these contacts."""
    contacts = [{"id": name, "email": f"{name}@example.com"} for name in names]
    event = rotor.send("campaign.started", {"campaign_id": "c-1", "contacts": contacts})
    run = rotor.runs.wait(rotor.events.get(event).runs[0].id, timeout="40s")
    assert run.status == "completed", run.error
    return run.output


def test_every_contact_is_enriched_in_a_run_of_its_own(rotor: SyncRotor, service: Service) -> None:
    output = enrich(rotor, "ada", "grace", "joan")
    assert output["failed"] == []
    assert [(one["contact_id"], one["score"]) for one in output["enriched"]] == [
        ("ada", 62),
        ("grace", 62),
        ("joan", 62),
    ]
    assert output["enriched"][0]["person"] == {"name": "Ada", "title": "Chief Engineer"}
    assert output["enriched"][0]["company"] == {"name": "example.com", "employees": 120}
    assert service.tokens == {"Bearer secret"}


def test_contacts_are_looked_up_side_by_side(rotor: SyncRotor, service: Service) -> None:
    output = enrich(rotor, "castor", "pollux")  # neither is answered before both have been asked
    assert output["failed"] == []
    assert service.asked["castor@example.com"] == service.asked["pollux@example.com"] == 1


def test_busy_and_failing_services_are_asked_again_and_unknown_people_count_as_unknown(
    rotor: SyncRotor, service: Service
) -> None:
    output = enrich(rotor, "busy", "flaky", "nobody")
    assert output["failed"] == []
    assert [one["score"] for one in output["enriched"]] == [62, 62, 12]
    assert output["enriched"][2]["person"] is None
    assert (service.asked["busy@example.com"], service.asked["flaky@example.com"]) == (2, 2)


def test_a_refused_or_slow_contact_costs_the_campaign_that_contact_only(rotor: SyncRotor, service: Service) -> None:
    output = enrich(rotor, "refused", "slow", "last")
    assert output["failed"] == ["refused", "slow"]
    assert [one["contact_id"] for one in output["enriched"]] == ["last"]
    assert service.asked["refused@example.com"] == 1


def test_a_campaign_without_contacts_is_done_at_once(rotor: SyncRotor) -> None:
    assert enrich(rotor) == {"campaign_id": "c-1", "enriched": [], "failed": []}


def test_a_contact_that_is_added_later_is_enriched_alike(rotor: SyncRotor) -> None:
    event = rotor.send("contact.added", {"id": "late", "email": "late@example.com"})
    run = rotor.runs.wait(rotor.events.get(event).runs[0].id, timeout="40s")
    assert run.output["score"] == 62
