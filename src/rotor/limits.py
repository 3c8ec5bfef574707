"""Every limit of Rotor in one table: whoever enforces one takes it from here, and its error names it."""

from datetime import timedelta
from typing import Final

# What a run may hold
STEPS_PER_RUN: Final = 100_000
CHILDREN_DEPTH: Final = 32
VERSIONS_PER_RUN: Final = 100
"""Changes of code that a run remembers; of one that has seen more, the earliest steps show no version."""
SLEEP: Final = timedelta(days=5 * 366)

# What a payload may be
PAYLOAD_BYTES: Final = 4 * 1024 * 1024
PAYLOAD_DEPTH: Final = 128
ERROR_TEXT_CHARACTERS: Final = 16_384
MEMO_BYTES: Final = 48 * 1024 * 1024
"""All that the steps of a run have recorded; a run beyond it fails rather than exhaust one worker after the other."""
LOG_LINES_PER_RUN: Final = 10_000
LOG_LINE_CHARACTERS: Final = 4_096

# What a name may be
ID_CHARACTERS: Final = 256
EXPRESSION_CHARACTERS: Final = 1_024
MATCH_PATHS: Final = 16
CRON_CHARACTERS: Final = 128
URL_CHARACTERS: Final = 2_048

# What a request may hold
EVENTS_PER_REQUEST: Final = 5_000
HEAD_BYTES: Final = 64 * 1024
"""The line and the headers of a request; a connection that sends more is answered 431 and closed."""
REQUEST_BYTES: Final = 16 * 1024 * 1024
BODIES_BYTES: Final = 256 * 1024 * 1024
"""All request bodies that one server holds at once; beyond it a request is answered 503."""
ANSWERS_BYTES: Final = 256 * 1024 * 1024
"""All answers of serve apps that one server holds at once; beyond it a run is tried again later."""
PAGE_ITEMS: Final = 200
FUNCTIONS_PER_APP: Final = 1_000
TRIGGERS_PER_FUNCTION: Final = 16
MESSAGES_PER_FRAME: Final = 5_000
FRAME_BYTES: Final = 64 * 1024 * 1024

# What a function may ask for
RETRIES: Final = 100

# What the server gathers and keeps
BATCH: Final = 1_000
BATCH_BYTES: Final = 16 * 1024 * 1024
"""About how much one transaction writes; a single write may be larger."""
COMMIT_QUEUE: Final = 20_000
"""Writes waiting for a commit; beyond it a request is answered 503 and a worker waits."""
COMMIT_QUEUE_BYTES: Final = 256 * 1024 * 1024
"""About how large those writes are together; the same beyond it."""
WORKER_SLOTS: Final = 10_000
INVOKED_RUNS: Final = 500
"""Runs that one server has invoked over HTTP at once; beyond it those that are due wait."""
FOLLOWING: Final = 100
"""Tasks under way that follow from commits, beyond which the spans of waits are left out of traces."""
KEPT_BODIES: Final = 10_000
"""Parked bodies in one worker's memory that a server remembers; others go on from what is recorded."""
KNOWN_WAITS: Final = 10_000
"""Waits for events, of runs whose bodies workers keep, that one server remembers: events wake these in their own
commit, and the others in another."""
CONNECTIONS: Final = 10_000
"""Connections to one server; beyond it a request is answered 503."""
REQUESTS: Final = 5_000
"""Requests under way on one server, streams among them; beyond it one more is answered 503."""
UNKNOWN_KEYS: Final = 200
"""Keys, sessions, login links and tokens that turn out to be nobody's, which one server looks up in a second, for the
API and for the dashboard each; beyond it whoever shows one that it does not know is answered 503."""
KEYS_LIMITED: Final = 10_000
"""API keys whose rate one server remembers; beyond it the one that was used longest ago starts anew."""
EVENT_NAMES: Final = 10_000
"""Names of events of which one server remembers what they start; beyond it, it begins anew."""
EVENT_PATHS: Final = 100
"""Paths by which waits tell the events of one name apart, and under which each such event is indexed. A wait by
another path is tried on every event of its name."""
FRESH_BYTES: Final = 64 * 1024 * 1024
"""Events that one server holds between their commit and the look for their waiters; beyond it they are read back."""
STREAMS: Final = 2_000
"""Server-sent event streams open at once on one server, those of the dashboard among them, and requests that wait for
the end of a run; beyond it one more is answered 503."""
STREAMS_PER_WORKSPACE: Final = 1_000
"""The same of one workspace, so that none takes all."""
RUN_WAIT: Final = timedelta(seconds=20)
"""How long one request waits for the end of a run; who waits for longer asks again."""
RUNS_LOOKED_AT: Final = 50_000
"""Runs that are looked at to fill one page of a filtered list; the page after it goes on from there."""
RUNS_SEARCHED: Final = 5_000
"""Runs in whose payloads one page of a search looks for a text."""
SEARCH_BYTES: Final = 32 * 1024 * 1024
"""Payloads in which one page of a search looks."""
SIGNAL_KEPT: Final = timedelta(hours=24)

# When a worker or an app is given up
INVOCATION: Final = timedelta(hours=24)
"""From the call of a serve app to its whole answer."""
LEASE: Final = timedelta(seconds=30)
HEARTBEAT: Final = timedelta(seconds=5)
LOSSES: Final = 5
"""Workers that may die in a row holding a run, without progress between, before the run fails."""
LOSSES_IN_COMPANY: Final = 12
"""The same, where the last of them held other runs besides, any of which may be to blame."""
