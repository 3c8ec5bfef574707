"""The statements by their names, and the wall between workspaces in each of them.

A statement is a file of `queries/`, named verb_noun; its name travels as a comment so that pg_stat_statements shows
it. It is one of three kinds, and its text is held to that before it runs for the first time:

- of one workspace, whose id is `$1`; only a connection that is bound to a workspace runs it, and supplies the id;
- of a batch, each row of which carries the id of its workspace;
- across workspaces, for a reason that stands in `ACROSS`: whoever runs it is no caller of one workspace.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

__all__ = ["ACROSS", "statement", "workspace_statement"]

ACROSS: dict[str, frozenset[str]] = {
    "who calls is to be found out": frozenset({"find_api_key", "note_api_key_use", "use_login_link", "find_workspace"}),
    "an administrator of the database asks, about all workspaces": frozenset(
        {
            "list_api_keys",
            "revoke_api_key",
            "add_workspace",
            "list_workspaces",
            "lock_workspace_by_name",
            "check_invariants",
        }
    ),
    "a server that starts tries whether it can read payloads": frozenset({"read_latest_events"}),
    "about no workspace: the clock, the schema, the settings": frozenset(
        {"read_clock", "read_applied_migrations", "read_durability"}
    ),
    "the committer's batch, under the locks of its runs, which say whose each is": frozenset(
        {
            "lock_runs",
            "read_known",
            "read_news",
            "read_open_children",
            "put_batch",
            "put_progress",
            "put_result",
            "put_end",
            "put_parks",
            "put_wakes",
            "read_step_groups",
            "read_ended_waits",
            "close_steps",
        }
    ),
    "a holder's own lease, by its id, which a server keeps in memory": frozenset(
        {
            "extend_leases",
            "shorten_lease",
            "lock_lease",
            "delete_leases",
            "read_held_runs",
            "read_held_news",
            "read_memos",
            "read_invocation_begun",
        }
    ),
    "a loop looks for what is due in any workspace": frozenset(
        {
            "claim_invocations",
            "lock_due_triggers",
            "read_due_waits",
            "read_due_deliveries",
            "delete_deliveries",
            "read_oldest_delivery",
            "read_unlooked_waits",
            "mark_looked",
            "unindex_waits",
            "read_waits",
            "find_events",
            "read_pulse",
        }
    ),
    "a loop takes up what was left behind in any workspace": frozenset(
        {"take_leases", "read_lost_runs", "read_orphans", "read_undelivered_signals"}
    ),
    "a loop forgets what is old in any workspace": frozenset(
        {
            "prune_runs",
            "prune_run_logs",
            "prune_events",
            "prune_signals",
            "prune_audit_log",
            "prune_signal_links",
            "prune_app_calls",
        }
    ),
}
"""Which statements heed no workspace, by the reason."""

_OF_ONE = re.compile(
    r"\bworkspace_id = \$1\b"
    r"|INSERT INTO \w+(?: AS \w+)? \(workspace_id,[^)]*\)\s*(?:VALUES \(|SELECT )\$1\b"
    r"|(?:FROM workspaces|UPDATE workspaces SET [^()]*) WHERE id = \$1\b"
)
_BATCH = re.compile(
    r"unnest\([^)]*::bigint\[\].*\bworkspace_id\b|\bworkspace_id\b.*unnest\([^)]*::bigint\[\]", re.DOTALL
)


@cache
def statement(name: str) -> str:
    """The text of a statement that is not of one workspace. Raises `LookupError` for one that is."""
    text = _text(name)
    if not any(name in names for names in ACROSS.values()) and (_BATCH.search(text) is None or _OF_ONE.search(text)):
        raise LookupError(f"{name} is of one workspace: run it on `of(workspace_id)`, or give a reason in ACROSS")
    return text


@cache
def workspace_statement(name: str) -> str:
    """The text of a statement of one workspace. Raises `LookupError` for one that does not name the workspace."""
    text = _text(name)
    if _OF_ONE.search(text) is None:
        raise LookupError(f"{name} does not name its workspace: say `workspace_id = $1`")
    return text


def _text(name: str) -> str:
    """`queries/NAME.sql`, its leading comment left out."""
    text = files("rotor.store").joinpath("queries", f"{name}.sql").read_text(encoding="utf-8")
    lines = text.splitlines()
    body = next(number for number, line in enumerate(lines) if line.strip() and not line.startswith("--"))
    return f"/* {name} */\n" + "\n".join(lines[body:])
