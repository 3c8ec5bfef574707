"""A workspace with something on every page, whose names and payloads are all hostile."""

from __future__ import annotations

import msgspec

from rotor.store.database import Database

__all__ = ["EVENT", "FUNCTION", "HOSTILE", "RUNS", "SIGNAL", "build"]

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
FUNCTION = f"f/{HOSTILE}"
EVENT = f"e/{HOSTILE}"
SIGNAL = f"s/{HOSTILE}"
RUNS = {
    status: f"00000000-0000-7000-8000-00000000000{number}"
    for number, status in enumerate(("queued", "running", "waiting", "completed", "failed", "cancelled"))
}

SQL = f"""
INSERT INTO functions (workspace_id, id, app, version) VALUES (1, $function$, $hostile$, $hostile$);
INSERT INTO functions (workspace_id, id, serve_url, paused_at)
VALUES (1, 'served', 'https://app.example.com/api', rotor_now());
INSERT INTO triggers (workspace_id, function_id, position, event_name, match)
VALUES (1, $function$, 0, $hostile$, 'data.a == 1');
INSERT INTO triggers (workspace_id, function_id, position, cron, timezone, next_at)
VALUES (1, $function$, 1, '0 9 * * 1', 'Europe/Paris', rotor_now() + interval '3 days');
INSERT INTO app_calls VALUES (1, 'https://app.example.com/api', rotor_now(), rotor_now());
INSERT INTO leases (id, workspace_id, kind, holder, app, version, slots, expires_at)
VALUES ('{RUNS["running"]}', 1, 'worker', $hostile$, $hostile$, $hostile$, 10, rotor_now() + interval '1 hour');

INSERT INTO events (workspace_id, id, name, data, ts, accepted_at, effective_at, position)
VALUES (1, $event$, $hostile$, convert_to($json$, 'UTF8'), rotor_now(), rotor_now(), rotor_now(), 1),
       (1, 'later', 'deferred', '1', rotor_now() + interval '1 day', rotor_now(), NULL, NULL);

INSERT INTO runs (id, workspace_id, function_id, event_id, status, due_at, lease_id, started_at, ended_at, error,
                  output, changed_group, created_at)
SELECT id::uuid, 1, $function$, $event$, status,
       CASE WHEN status = 'queued' THEN rotor_now() + interval '1 day' END,
       CASE WHEN status = 'running' THEN '{RUNS["running"]}'::uuid END,
       rotor_now(),
       CASE WHEN status IN ('completed', 'failed', 'cancelled') THEN rotor_now() END,
       CASE WHEN status = 'failed'
            THEN convert_to(format('{{"name":%1$s,"message":%1$s,"stack":%1$s}}', $json$), 'UTF8') END,
       CASE WHEN status = 'completed' THEN convert_to($json$, 'UTF8') END,
       1, rotor_now() - number * interval '1 minute'
FROM unnest(ARRAY{list(RUNS.values())}, ARRAY{list(RUNS)}) WITH ORDINALITY AS given (id, status, number);

INSERT INTO steps (run_id, id, index, op, status, started_at, ended_at, settled_group, position, output, event_id,
                   waits_for)
SELECT run_id::uuid, $hostile$ || number, 0, op, status, rotor_now(),
       CASE WHEN status <> 'waiting' THEN rotor_now() END, 1, number,
       CASE WHEN status = 'completed' THEN convert_to($json$, 'UTF8') END, event_id, waits_for
FROM (VALUES ('{RUNS["completed"]}', 1, 'run', 'completed', NULL, NULL),
             ('{RUNS["completed"]}', 2, 'wait_for_event', 'completed', $event$, 'event:' || $hostile$),
             ('{RUNS["waiting"]}', 3, 'wait_for_signal', 'waiting', NULL, 'signal:' || $signal$),
             ('{RUNS["waiting"]}', 4, 'sleep', 'waiting', NULL, NULL))
     AS given (run_id, number, op, status, event_id, waits_for);
INSERT INTO waits (run_id, step_id, step_index, workspace_id, deadline, topic)
VALUES ('{RUNS["waiting"]}', $hostile$ || 3, 0, 1, rotor_now() + interval '2 days', 'signal:' || $signal$),
       ('{RUNS["waiting"]}', $hostile$ || 4, 0, 1, rotor_now() + interval '1 day', NULL);
INSERT INTO run_logs (run_id, position, workspace_id, line, at, level, message, step_id, step_index)
VALUES ('{RUNS["completed"]}', 0, 1, 1, rotor_now(), 'error', convert_to($hostile$, 'UTF8'), $hostile$ || 1, 0);
INSERT INTO signals (workspace_id, id, run_id, step_id, step_index)
VALUES (1, $signal$, '{RUNS["waiting"]}', $hostile$ || 3, 0);
"""


async def build(database: Database) -> None:
    """Put it into the workspace `default`."""
    words = {"hostile": HOSTILE, "function": FUNCTION, "event": EVENT, "signal": SIGNAL}
    words["json"] = msgspec.json.encode(HOSTILE).decode()
    text = SQL
    for name, value in words.items():
        text = text.replace(f"${name}$", "'" + value.replace("'", "''") + "'::text")
    async with database.connection() as connection:
        await connection.raw.execute(text)
