"""Runs a workflow in a unit test, with no server and no waiting.

    from rotor.testing import RUN_ID, execute_sync, signal

    execution = execute_sync(
        campaign,
        {"contactId": "c-1"},
        results={"fetch-profile": {"email": "ada@example.com"}},
        happens=[signal(f"approval-{RUN_ID}", {"approved": True}, after="2h")],
    )
    assert execution.output == "sent"

The body runs in the SDK's own session, as it does in production; only the server's part is played in memory, and its
clock moves by itself.
"""

from rotor.testing.execution import Execution, execute, execute_sync
from rotor.testing.script import RUN_ID, Happening, event, signal

__all__ = ["execute", "execute_sync", "Execution", "event", "signal", "Happening", "RUN_ID"]
