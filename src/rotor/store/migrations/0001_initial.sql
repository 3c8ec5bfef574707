-- The first schema. It creates everything in the schema that search_path names first; no table exists yet, so no lock matters.
--
-- Payloads (data, output, error) are opaque JSON text in bytea: jsonb refuses NUL escapes, rewrites numbers and drops repeated keys.
-- No foreign keys on the tables that each step writes: the run's row lock keeps them whole, and a check per row would cost more than the row.
-- Run-scoped tables lead their keys with the run id, topic-scoped ones with (workspace, topic), so that each can be distributed.

-- The one clock: when the transaction began. Tests move it by the setting rotor.clock_offset of their own connections; nothing else
-- sets that.
CREATE FUNCTION rotor_now() RETURNS timestamptz LANGUAGE sql STABLE
AS $$ SELECT now() + coalesce(nullif(current_setting('rotor.clock_offset', true), '')::interval, interval '0') $$;

-- The same clock as the statement began: for the ends of runs, and of their steps, in a transaction that has locked the runs before. It may
-- have waited for them while others wrote of the same runs, and nothing of a run is later than its end. All else is of the transaction's
-- beginning: events, runs and since when waits look back are compared with each other.
CREATE FUNCTION rotor_statement_now() RETURNS timestamptz LANGUAGE sql STABLE
AS $$ SELECT rotor_now() + (statement_timestamp() - now()) $$;

-- Which code a run had at a moment: the last of its versions that began by then.
CREATE FUNCTION version_at(versions text[], since timestamptz[], moment timestamptz) RETURNS text LANGUAGE sql IMMUTABLE
AS $$ SELECT versions[width_bucket(moment, since)] $$;

-- A payload is JSON as it came, or sealed (store/vault.py): then it begins with a NUL byte, and is 50 bytes longer. Only a whole one opens.
CREATE FUNCTION payload_head(payload bytea, bytes int) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN substring(payload FROM 1 FOR 1) = '\x00' THEN payload ELSE substring(payload FROM 1 FOR bytes) END $$;
CREATE FUNCTION payload_size(payload bytea) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT octet_length(payload) - CASE WHEN substring(payload FROM 1 FOR 1) = '\x00' THEN 50 ELSE 0 END $$;

-- What a column may hold. As domains: the checks of a table are read and prepared anew by each statement that writes to it, those of
-- a domain once in a session. As parameters, and in lists, they are text: of a type that the driver does not know it would ask first.
CREATE DOMAIN short_text AS text CHECK (VALUE <> '' AND length(VALUE) <= 256);
CREATE DOMAIN natural_int AS int CHECK (VALUE >= 0);
CREATE DOMAIN run_depth AS int CHECK (VALUE BETWEEN 0 AND 32);
CREATE DOMAIN run_status AS text CONSTRAINT runs_status
    CHECK (VALUE IN ('queued', 'running', 'waiting', 'completed', 'failed', 'cancelled'));
CREATE DOMAIN step_status AS text CONSTRAINT steps_status
    CHECK (VALUE IN ('running', 'retrying', 'waiting', 'completed', 'failed', 'cancelled', 'timed_out'));
CREATE DOMAIN step_op AS text CONSTRAINT steps_op
    CHECK (VALUE IN ('run', 'sleep', 'wait_for_event', 'invoke', 'send_event', 'wait_for_signal'));

-- What columns of one row may hold together: domains of rows, for the same reason. The tables that each step writes check no more than
-- that their columns make one.
CREATE TYPE run_columns AS (
    status             run_status,
    due_at             timestamptz,
    lease_id           uuid,
    ended_at           timestamptz,
    has_error          boolean,
    parent_run_id      uuid,
    parent_step_id     text,
    parent_step_index  int,
    versions           text[],
    versions_since     timestamptz[]
);
CREATE DOMAIN run_shape AS run_columns
    CONSTRAINT runs_queued_is_due CHECK (((VALUE).status = 'queued') = ((VALUE).due_at IS NOT NULL))
    CONSTRAINT runs_running_is_held CHECK (((VALUE).status = 'running') = ((VALUE).lease_id IS NOT NULL))
    CONSTRAINT runs_ended_has_end CHECK (((VALUE).status IN ('completed', 'failed', 'cancelled')) = ((VALUE).ended_at IS NOT NULL))
    CONSTRAINT runs_failed_has_error CHECK (((VALUE).status = 'failed') = (VALUE).has_error)
    CONSTRAINT runs_child_has_step CHECK (
        ((VALUE).parent_run_id IS NULL) = ((VALUE).parent_step_id IS NULL)
        AND ((VALUE).parent_run_id IS NULL) = ((VALUE).parent_step_index IS NULL))
    CONSTRAINT runs_versions_have_beginnings CHECK (cardinality((VALUE).versions) = cardinality((VALUE).versions_since));
CREATE TYPE step_columns AS (status step_status, ended_at timestamptz);
CREATE DOMAIN step_shape AS step_columns
    CONSTRAINT steps_ended_has_end
        CHECK (((VALUE).status IN ('completed', 'failed', 'cancelled', 'timed_out')) = ((VALUE).ended_at IS NOT NULL));

CREATE TABLE workspaces (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        short_text NOT NULL UNIQUE,
    created_at  timestamptz NOT NULL DEFAULT rotor_now(),
    revision    bigint NOT NULL DEFAULT 0     -- raised with each change of what events meet: triggers, and the names and paths of waits
);
INSERT INTO workspaces (name) VALUES ('default');

-- Only the hash of a key is kept; `prefix` is what people recognise it by.
CREATE TABLE api_keys (
    id            uuid PRIMARY KEY,
    workspace_id  bigint NOT NULL REFERENCES workspaces,
    name          text NOT NULL,
    prefix        text NOT NULL,
    key_hash      bytea NOT NULL UNIQUE,
    scopes        text[] NOT NULL CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['send', 'read', 'operate', 'admin']),
    created_at    timestamptz NOT NULL DEFAULT rotor_now(),
    expires_at    timestamptz,                -- NULL: never
    last_used_at  timestamptz,
    revoked_at    timestamptz
);

-- Symmetric, so they must be readable. The newest that is not retired signs; all that are not retired verify.
CREATE TABLE signing_keys (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id  bigint NOT NULL REFERENCES workspaces,
    key           text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT rotor_now(),
    retired_at    timestamptz
);
CREATE INDEX signing_keys_workspace ON signing_keys (workspace_id) WHERE retired_at IS NULL;

-- Who changed what by hand. An entry is never changed, and goes when it is old enough.
CREATE TABLE audit_log (
    workspace_id  bigint NOT NULL REFERENCES workspaces,
    at            timestamptz NOT NULL,
    id            uuid NOT NULL,              -- no number, which would tell one workspace how much others do
    actor         text NOT NULL,              -- the name of the key at that time, or what acted without one
    key_id        uuid,
    address       text,
    action        text NOT NULL,
    target        text NOT NULL,
    PRIMARY KEY (workspace_id, at, id)
);
CREATE INDEX audit_log_age ON audit_log USING brin (at);

CREATE TABLE functions (
    workspace_id  bigint NOT NULL REFERENCES workspaces,
    id            short_text NOT NULL,
    serve_url     text,                       -- NULL: workers that connect serve it
    app           text NOT NULL DEFAULT '',
    version       text NOT NULL DEFAULT '',
    retries       int NOT NULL DEFAULT 3 CHECK (retries >= 0),
    paused_at     timestamptz,
    created_at    timestamptz NOT NULL DEFAULT rotor_now(),
    updated_at    timestamptz NOT NULL DEFAULT rotor_now(),
    PRIMARY KEY (workspace_id, id)
);

CREATE TABLE triggers (
    workspace_id  bigint NOT NULL,
    function_id   text NOT NULL,
    position      int NOT NULL,
    event_name    text,
    match         text,                       -- CEL over the event
    cron          text,
    timezone      text,
    next_at       timestamptz,                -- of a cron: its next fire
    PRIMARY KEY (workspace_id, function_id, position),
    FOREIGN KEY (workspace_id, function_id) REFERENCES functions ON DELETE CASCADE,
    CHECK ((event_name IS NULL) <> (cron IS NULL)),
    CHECK ((cron IS NULL) = (next_at IS NULL)),
    CHECK (match IS NULL OR event_name IS NOT NULL)
);
CREATE INDEX triggers_event ON triggers (workspace_id, event_name) WHERE event_name IS NOT NULL;
CREATE INDEX triggers_due ON triggers (next_at) WHERE cron IS NOT NULL;

-- One order for all that is accepted, and one for all commits of runs and steps (streams resume from it).
CREATE SEQUENCE event_order AS bigint CACHE 1;
CREATE SEQUENCE commit_group AS bigint CACHE 1;

CREATE TABLE events (
    workspace_id  bigint NOT NULL,
    id            short_text NOT NULL,
    name          short_text NOT NULL,
    data          bytea NOT NULL,
    ts            timestamptz NOT NULL,       -- when it happened, by its sender or else by this clock
    accepted_at   timestamptz NOT NULL,
    effective_at  timestamptz,                -- when it began to start runs and wake waits; NULL: deferred to ts
    position      bigint,                     -- its place among all effective events; NULL: deferred
    traceparent   text CHECK (length(traceparent) = 55),    -- W3C: the span that sent it, to which its runs belong; NULL: none
    PRIMARY KEY (workspace_id, id),
    CHECK ((effective_at IS NULL) = (position IS NULL))
);
CREATE INDEX events_name ON events (workspace_id, name, effective_at, position) WHERE effective_at IS NOT NULL;
CREATE INDEX events_newest ON events (workspace_id, accepted_at DESC, id DESC);
CREATE INDEX events_age ON events (accepted_at);

-- Batches of accepted events whose waiters have still to be looked for, and deferred ones whose time has still to come.
CREATE TABLE deliveries (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    due_at         timestamptz NOT NULL,
    deferred       boolean NOT NULL,          -- they have still to start runs, too
    since          timestamptz,               -- none of its events took effect before; NULL: that has still to come
    workspace_ids  bigint[] NOT NULL,
    event_ids      text[] NOT NULL,
    CHECK (cardinality(workspace_ids) = cardinality(event_ids))
);
CREATE INDEX deliveries_due ON deliveries (due_at);
CREATE INDEX deliveries_oldest ON deliveries (since) WHERE since IS NOT NULL;

-- Who may write: a worker's connection, or one invocation over HTTP. A lease that ran out or is gone writes nothing.
CREATE TABLE leases (
    id            uuid PRIMARY KEY,
    workspace_id  bigint NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('worker', 'invocation')),
    holder        text NOT NULL,              -- the worker's name, or the serve_url
    app           text NOT NULL DEFAULT '',
    version       text NOT NULL DEFAULT '',
    slots         int NOT NULL CHECK (slots > 0),
    connection    int NOT NULL DEFAULT 1,     -- how often its holder has connected: the end of an earlier connection is no news. Of an invocation: 1 once the app says that it begins
    created_at    timestamptz NOT NULL DEFAULT rotor_now(),
    expires_at    timestamptz NOT NULL,
    taken_at      timestamptz                 -- it ran out, and its runs are being given to others: it cannot be kept any more
);

-- Apps that are called over HTTP: when each answered last, and since when it is not reached. For people; every server writes of its own calls.
CREATE TABLE app_calls (
    workspace_id  bigint NOT NULL,
    serve_url     text NOT NULL,
    answered_at   timestamptz,
    unreached_at  timestamptz,                -- the last call was not answered; NULL: it was
    PRIMARY KEY (workspace_id, serve_url)
);

CREATE TABLE runs (
    id                   uuid NOT NULL,
    workspace_id         bigint NOT NULL,
    function_id          text NOT NULL,
    event_id             text NOT NULL,
    status               run_status NOT NULL,
    attempt              natural_int NOT NULL DEFAULT 0,    -- tries of the body that failed
    due_at               timestamptz,          -- when a queued run may be claimed
    lease_id             uuid,                 -- who holds a running run
    settled              natural_int NOT NULL DEFAULT 0,    -- waits that came to an end
    losses               natural_int NOT NULL DEFAULT 0,    -- holders lost since the last progress
    depth                run_depth NOT NULL DEFAULT 0,
    parent_run_id        uuid,
    parent_step_id       text,
    parent_step_index    int,
    replay_of            uuid,
    output               bytea,
    error                bytea,
    kept_by              uuid,                 -- the lease that parked it and keeps its body in memory
    kept_group           bigint,               -- the commit of that parking: later ones are news to the keeper
    changed_group        bigint NOT NULL,      -- the commit that last changed this row
    versions             text[] NOT NULL DEFAULT '{}',         -- the code that it has had, in its order
    versions_since       timestamptz[] NOT NULL DEFAULT '{}',  -- since when each
    cancel_requested_at  timestamptz,
    created_at           timestamptz NOT NULL,
    started_at           timestamptz,
    ended_at             timestamptz,
    CONSTRAINT runs_shape CHECK (
        ROW(status, due_at, lease_id, ended_at, error IS NOT NULL, parent_run_id, parent_step_id, parent_step_index, versions, versions_since)
        ::run_shape IS DISTINCT FROM NULL)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05); -- each run leaves one or two dead rows: no fifth of all may pile up
CREATE INDEX runs_due ON runs (workspace_id, function_id, due_at) WHERE status = 'queued';
CREATE INDEX runs_held ON runs (lease_id) WHERE lease_id IS NOT NULL;
CREATE INDEX runs_newest ON runs (workspace_id, created_at DESC, id DESC);
CREATE INDEX runs_function ON runs (workspace_id, function_id, created_at DESC, id DESC);
CREATE INDEX runs_failed ON runs (workspace_id, created_at DESC, id DESC) WHERE status = 'failed';
CREATE INDEX runs_event ON runs (workspace_id, event_id);
CREATE UNIQUE INDEX runs_parent ON runs (parent_run_id, parent_step_id, parent_step_index) WHERE parent_run_id IS NOT NULL;
CREATE INDEX runs_open_children ON runs (parent_run_id) WHERE parent_run_id IS NOT NULL AND ended_at IS NULL;
CREATE INDEX runs_cancelling ON runs (cancel_requested_at) WHERE cancel_requested_at IS NOT NULL AND ended_at IS NULL;
CREATE INDEX runs_ended ON runs (ended_at) WHERE ended_at IS NOT NULL;
-- Last: of indexes that cost the same, as all do while a table is empty, the planner takes the youngest.
ALTER TABLE runs ADD PRIMARY KEY (id);

-- The key is (id, n-th use) as a pair, never a text with a suffix. Nothing that a step changes is indexed.
CREATE TABLE steps (
    run_id        uuid NOT NULL,
    id            text NOT NULL,
    index         natural_int NOT NULL,
    op            step_op NOT NULL,
    status        step_status NOT NULL,
    attempts      natural_int NOT NULL DEFAULT 0,
    output        bytea,
    error         bytea,
    child_run_id  uuid,
    event_id      text,                       -- the event it took, or sent
    waits_for     text,                       -- the topic it waits or waited on, for people
    deadline      timestamptz,
    started_at    timestamptz NOT NULL,
    ended_at      timestamptz,
    settled_group bigint NOT NULL,            -- the commit that last changed it
    position      int NOT NULL,               -- its place within that commit
    PRIMARY KEY (run_id, id, index),
    CONSTRAINT steps_shape CHECK (ROW(status, ended_at)::step_shape IS DISTINCT FROM NULL)
) WITH (fillfactor = 85);
-- One event is taken by one wait of a run. It leads with the event, for people who ask which runs took it.
CREATE UNIQUE INDEX steps_taken ON steps (event_id, run_id) WHERE event_id IS NOT NULL AND op = 'wait_for_event';

-- Parked steps: what each waits for. A row is deleted by whoever settles it, under the lock of the run's row.
CREATE TABLE waits (
    run_id        uuid NOT NULL,
    step_id       text NOT NULL,
    step_index    int NOT NULL,
    workspace_id  bigint NOT NULL,
    deadline      timestamptz,
    topic         text,                       -- NULL: a sleep, or a step between two tries
    path          text,                       -- of an event: a path whose value is required; NULL: none
    match_hash    bigint,                     -- of an event: the hash of that path and value; 0: none
    equals        bytea,                      -- of an event: path to value, all required
    expression    bytea,                      -- of an event: the CEL that is left to try
    since         timestamptz,                -- of an event: how far back to look
    unlooked      boolean NOT NULL DEFAULT false,   -- the look back is still owed
    PRIMARY KEY (run_id, step_id, step_index),
    CONSTRAINT waits_can_end CHECK (deadline IS NOT NULL OR topic IS NOT NULL),
    CONSTRAINT waits_event_is_indexed CHECK ((topic LIKE 'event:%') IS NOT TRUE OR (match_hash IS NOT NULL AND since IS NOT NULL))
);
CREATE INDEX waits_deadline ON waits (deadline) WHERE deadline IS NOT NULL;
CREATE INDEX waits_topic ON waits (workspace_id, topic, match_hash) WHERE topic IS NOT NULL;
CREATE INDEX waits_unlooked ON waits (run_id) WHERE unlooked;

-- What runs have logged, for people; nothing is decided by it. `line` is the holder's own count, in which a gap is a loss.
CREATE TABLE run_logs (
    run_id        uuid NOT NULL,
    position      int NOT NULL CHECK (position >= 0),
    workspace_id  bigint NOT NULL,
    line          int NOT NULL,
    at            timestamptz NOT NULL,
    level         text NOT NULL,
    message       bytea NOT NULL,             -- UTF-8 text
    step_id       text,
    step_index    int,
    PRIMARY KEY (run_id, position),
    CONSTRAINT run_logs_level CHECK (level IN ('debug', 'info', 'warning', 'error', 'critical')),
    CONSTRAINT run_logs_step CHECK ((step_id IS NULL) = (step_index IS NULL))
);
CREATE INDEX run_logs_age ON run_logs USING brin (at);

-- One signal id: its waiter and its data, in whichever order they came. Both write this row, so neither can miss the other.
CREATE TABLE signals (
    workspace_id  bigint NOT NULL,
    id            short_text NOT NULL,
    run_id        uuid,
    step_id       text,
    step_index    int,
    data          bytea,
    completed_at  timestamptz,
    delivered_at  timestamptz,
    expires_at    timestamptz,                -- of data that nobody waits for, and of a delivered one
    PRIMARY KEY (workspace_id, id),
    CHECK ((data IS NULL) = (completed_at IS NULL)),
    CHECK ((run_id IS NULL) = (step_id IS NULL) AND (run_id IS NULL) = (step_index IS NULL)),
    CHECK (run_id IS NOT NULL OR data IS NOT NULL)
);
CREATE INDEX signals_undelivered ON signals (completed_at) WHERE completed_at IS NOT NULL AND run_id IS NOT NULL AND delivered_at IS NULL;
CREATE INDEX signals_expiry ON signals (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX signals_run ON signals (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX signals_waiting ON signals (workspace_id, run_id DESC, id DESC) WHERE run_id IS NOT NULL AND completed_at IS NULL;

-- Links that have completed their signal. A link is known by its MAC, and by nothing until it is used.
CREATE TABLE used_signal_links (
    workspace_id  bigint NOT NULL,
    mac           bytea NOT NULL,
    expires_at    timestamptz NOT NULL,       -- then the link is refused for its time
    PRIMARY KEY (workspace_id, mac)
);
CREATE INDEX used_signal_links_expiry ON used_signal_links (expires_at);

-- Which event names and paths some wait has ever used. A path is committed first, and dated after that: whatever event is not
-- indexed under it took effect before that date.
CREATE TABLE event_names (
    workspace_id  bigint NOT NULL,
    name          text NOT NULL,
    PRIMARY KEY (workspace_id, name)
);
CREATE TABLE event_paths (
    workspace_id  bigint NOT NULL,
    name          text NOT NULL,
    path          text NOT NULL,
    indexed_from  timestamptz NOT NULL,       -- events that took effect before may lack this path; infinity: not dated yet
    PRIMARY KEY (workspace_id, name, path)
);
-- The looking back: which events of a name hold a value at a path.
CREATE TABLE event_values (
    workspace_id  bigint NOT NULL,
    name          text NOT NULL,
    match_hash    bigint NOT NULL,
    effective_at  timestamptz NOT NULL,
    position      bigint NOT NULL,
    event_id      text NOT NULL,
    PRIMARY KEY (workspace_id, name, match_hash, effective_at, position)
);
