-- Which of some runs ($2, newest first) have one of the texts ($3) in their event's data, their output or their error, in whatever
-- case of ASCII. Only so many of them are looked at as have $4 bytes of payload together.
-- Payloads are bytes: both sides are compared in Postgres' escape format, which has every byte as ASCII.
-- Called by store.run_lists for people. Index: runs_pkey, events_pkey. Locks: none.
WITH texts AS (
    SELECT lower(encode(convert_to(text, 'UTF8'), 'escape') COLLATE "C") AS text FROM unnest($3::text[]) AS given (text)
), measured AS (
    SELECT wanted.place, runs.id, output, error, event.data,
           sum(coalesce(octet_length(output), 0) + coalesce(octet_length(error), 0) + coalesce(octet_length(event.data), 0))
               OVER (ORDER BY wanted.place) AS bytes_so_far
    FROM unnest($2::uuid[]) WITH ORDINALITY AS wanted (id, place)
    JOIN LATERAL (SELECT * FROM runs WHERE runs.id = wanted.id AND runs.workspace_id = $1 LIMIT 1) AS runs ON true
    LEFT JOIN LATERAL (SELECT data FROM events WHERE events.workspace_id = $1 AND events.id = runs.event_id LIMIT 1) AS event ON true
)
SELECT id,
       EXISTS (
           SELECT FROM texts, unnest(ARRAY[data, output, error]) AS payload
           WHERE position(text IN lower(encode(payload, 'escape') COLLATE "C")) > 0
       ) AS is_found
FROM measured
WHERE place = 1 OR bytes_so_far <= $4
ORDER BY place
