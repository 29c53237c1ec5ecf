"""The rows of a made-up synth.v2 store, as set-based DuckDB SQL.

Every value comes from ``mix``, a small integer generator over (row number, purpose, seed), so the same seed
gives the same rows with every DuckDB release; the engine's own ``hash`` and ``random`` promise no such thing.

The SQL builds one chunk of sessions at a time from the temporary table ``chunk`` (one row a session) and
``step`` (one row a timestep). Ids are the next ones of the whole store, in the order in which the old program
saves a session: its timesteps, then all its events, then all its messages.
"""

from __future__ import annotations

from string import Template

# The tables of one session, parents first: the middle form of the schema has foreign keys.
CHUNK_TABLES = ("session_traces", "session_timesteps", "events", "messages")

# Two rounds of a Lehmer generator: enough to look unrelated, cheap, and within 64 bits for every input here.
MIX = """
CREATE TEMP MACRO mix(n, purpose) AS
    (((n + 1) * (1103515245 + purpose * 8121733) + $seed * 7919) % 2147483647 * 48271 + purpose * 65537)
    % 2147483647 * 16807 % 2147483647
"""

# `trap` answers: does this row get the purpose's oddity, one row in `every`? Never when traps are off.
TRAP = "CREATE TEMP MACRO trap(n, purpose, every) AS $usual AND mix(n, purpose) % every = 0"
RARE = "CREATE TEMP MACRO rare(n, purpose, every) AS $all AND mix(n, purpose) % every = 0"

CHUNK = """
CREATE OR REPLACE TEMP TABLE chunk AS
SELECT
    i,
    CASE
        WHEN trap(i, 1, 101) THEN 'sess 日本/' || i || '''q'
        WHEN trap(i, 2, 103) THEN 'run/🧪%20' || i
        WHEN i % 17 = 1 THEN 'session-' || lpad(i::VARCHAR, 6, '0')
        ELSE substr(m, 1, 8) || '-' || substr(m, 9, 4) || '-4' || substr(m, 14, 3) || '-a' || substr(m, 18, 3)
             || '-' || substr(m, 21, 12)
    END AS session_id,
    early,
    -- one session in fifty starts in the same microsecond as the one before it, one in twenty two hours early
    TIMESTAMP '2025-01-06 08:00:00'
        + to_microseconds((i - (i % 50 = 49)::INTEGER) * 97000000
                          + (mix(i - (i % 50 = 49)::INTEGER, 3) % 1000000)
                          - CASE WHEN i % 20 = 3 THEN 7200000000 ELSE 0 END) AS created_at,
    6 + mix(i, 4) % 3 AS steps,
    trap(i, 5, 211) AS lost_messages,
    trap(i, 6, 307) AS lost_steps
FROM (
    SELECT i, md5('$seed/' || i) AS m, $early AS early FROM range($first, $stop) r(i)
)
"""

STEP = """
CREATE OR REPLACE TEMP TABLE step AS
SELECT
    c.i, c.session_id, c.early, c.created_at, c.steps, c.lost_messages, c.lost_steps,
    j,
    c.i * 16 + j AS g,
    3 + (mix(c.i * 16 + j, 7) % 7 = 0)::INTEGER - (mix(c.i * 16 + j, 8) % 29 = 0)::INTEGER AS num_events,
    2 + (mix(c.i * 16 + j, 9) % 3 = 0)::INTEGER AS num_messages
FROM chunk c, range(8) s(j)
WHERE j < c.steps
"""

# One element of a session's metadata. The early and middle forms lost the type and kept no time.
_METADATA_ITEM = Template(
    """CASE WHEN $when THEN
        '{"metadata_type": "' || CASE WHEN early THEN 'SessionMetadum'
            ELSE '$kind' END || '", "data": ' || $data
        || CASE WHEN early THEN '}'
           ELSE ', "timestamp": "' || strftime(created_at, '%Y-%m-%dT%H:%M:%S.%f') || '"}' END
    END"""
)


def _item(kind: str, data: str, when: str = "true") -> str:
    return _METADATA_ITEM.substitute(kind=kind, data=data, when=when)


# Python prints a list of plain names as DuckDB reads one.
_MODELS = [
    "gpt-4.1",
    "gpt-4o-mini",
    "claude-3-5-haiku-20241022",
    "gemini-2.0-flash",
    "o3-mini",
    "Qwen/Qwen3-0.6B",
]


def _model(number: str) -> str:
    return f"({_MODELS})[1 + {number} % {len(_MODELS)}]"


_SESSION_METADATA = ", ".join(
    [
        _item(
            "crafter_info",
            """'{"seed": ' || i || ', "difficulty": "' || CASE WHEN i % 2 = 0 THEN 'hard' ELSE 'easy' END
               || '", "nested": {"a": [1, {"b": null}], "\\u03c0": 3.141592653589793}}'""",
        ),
        _item(
            "env_info",
            """'{"env_name": "crafter", "policy_name": "react", "task_id": "crafter-' || i % 40
               || '", "task_split": "' || CASE WHEN i % 5 = 0 THEN 'test' ELSE 'train' END
               || '", "model": "' || """
            + _model("mix(i, 10)")
            + """ || '"}'""",
            "mix(i, 11) % 3 > 0",
        ),
        _item(
            "episode_results",
            """'{"total_reward": ' || (mix(i, 12) % 90000 / 10000.0)::DOUBLE
               || ', "achievements": {"collect_wood": ' || (mix(i, 13) % 2 = 0)::VARCHAR
               || ', "place_table": ' || (mix(i, 14) % 3 = 0)::VARCHAR
               || ', "eat_cow": ' || (mix(i, 15) % 5 = 0)::VARCHAR
               || '}, "num_achievements": ' || ((mix(i, 13) % 2 = 0)::INTEGER + (mix(i, 14) % 3 = 0)::INTEGER
                                              + (mix(i, 15) % 5 = 0)::INTEGER)
               || ', "rollout_length": ' || steps || ', "terminated": ' || (i % 4 = 0)::VARCHAR || '}'""",
            "mix(i, 16) % 2 = 0",
        ),
        _item("judge_scores", """'{"judge_scores": {"style": 0.' || mix(i, 17) % 10 || '}}'""", "i % 9 = 0"),
        _item("crafter_info", """'{"duplicate_type": true, "seed": "' || i || '"}'""", "trap(i, 18, 13)"),
        _item("policy", """'{"model": "another-model", "seed": 9007199254740993}'""", "trap(i, 19, 23)"),
        _item("notes", """'"just a text"'""", "trap(i, 20, 31)"),
        _item("notes", """'{"score": NaN, "best": Infinity, "huge": 1e400}'""", "trap(i, 21, 41)"),
        _item("notes", """'{"nul": "a\\u0000b", "astral": "\\ud83e\\uddea", "raw": "🧪"}'""", "trap(i, 22, 43)"),
    ]
)

SESSION_TRACES = """
INSERT INTO session_traces
    (session_id, created_at, num_timesteps, num_events, num_messages, metadata, experiment_id)
SELECT
    c.session_id, c.created_at, c.steps, n.num_events, n.num_messages,
    CASE
        WHEN trap(i, 23, 37) THEN '[]'
        ELSE '[' || list_aggregate(list_filter([$session_metadata], x -> x IS NOT NULL), 'string_agg', ', ')
            || ']'
    END,
    CASE
        WHEN trap(i, 24, 89) THEN 'exp-deleted'
        WHEN mix(i, 25) % 5 < 3 AND NOT early THEN 'exp' || mix(i, 26) % $experiments
    END
FROM chunk c
JOIN (SELECT i, sum(num_events) AS num_events, sum(num_messages) AS num_messages
    FROM step GROUP BY i) n USING (i)
ORDER BY i
"""

SESSION_TIMESTEPS = """
INSERT INTO session_timesteps
    (id, session_id, step_id, step_index, timestamp, num_events, num_messages, step_metadata)
SELECT
    $timesteps + row_number() OVER (ORDER BY i, j), session_id, 'turn_' || j, j,
    created_at + to_microseconds(3600000000 + j * 4100000 + mix(g, 30) % 1000000), num_events, num_messages,
    CASE
        WHEN j % 2 = 1 THEN '{"turn_number": ' || j || ', "phase": "' || CASE WHEN j % 4 = 1 THEN 'act'
            ELSE 'obs' END || '"}'
        WHEN trap(g, 31, 97) THEN 'null'
    END
FROM step
WHERE NOT (lost_steps AND j >= 4)
ORDER BY i, j
"""

EVENTS = """
INSERT INTO events
    (id, session_id, timestep_id, event_type, system_instance_id, event_time, message_time, span_id, trace_id,
     model_name, provider, prompt_tokens, completion_tokens, total_tokens, cost, latency_ms,
     reward, terminated, system_state_before, system_state_after, metadata, event_metadata)
SELECT
    $events + row_number() OVER (ORDER BY i, j, k), session_id, NULL,
    CASE WHEN early AND kind = 'cais' AND trap(e, 40, 53) THEN 'lmcais' ELSE kind END,
    CASE kind WHEN 'cais' THEN 'llm_agent' ELSE kind END,
    -- the old program stamps events when it saves the session, not when they happened
    created_at + to_microseconds(3700000000 + (j * 4 + k) * 1100),
    CASE WHEN kind <> 'cais' OR mix(e, 41) % 2 = 0 THEN j END,
    CASE WHEN traced THEN lpad(to_hex(e), 16, '0') END,
    CASE WHEN traced THEN lpad(to_hex(i), 32, '0') END,
    CASE WHEN named THEN model END,
    CASE WHEN NOT named THEN NULL
         WHEN early THEN CASE model WHEN 'gpt-4.1' THEN 'azure_openai' WHEN 'gpt-4o-mini' THEN 'openai'
                                    WHEN 'claude-3-5-haiku-20241022' THEN 'anthropic' END
         ELSE CASE model WHEN 'gpt-4.1' THEN 'openai' WHEN 'gpt-4o-mini' THEN 'openai'
                         WHEN 'claude-3-5-haiku-20241022' THEN 'anthropic'
                         WHEN 'gemini-2.0-flash' THEN 'google'
                         WHEN 'Qwen/Qwen3-0.6B' THEN 'local' ELSE 'unknown' END
    END,
    CASE WHEN kind = 'cais' AND NOT trap(e, 42, 7) THEN prompt_tokens END,
    CASE WHEN kind = 'cais' AND NOT trap(e, 43, 7) THEN completion_tokens END,
    CASE WHEN kind = 'cais' AND NOT trap(e, 44, 7) THEN prompt_tokens + completion_tokens END,
    CASE
        WHEN kind <> 'cais' THEN NULL
        WHEN trap(e, 45, 6) THEN
            [0.29, 0.0042, 0.000123, 1.1, 0.0, NULL, 4.35, 0.1 + 0.2::DOUBLE][1 + mix(e, 46) % 8]
        WHEN rare(e, 47, 997) THEN 'NaN'::DOUBLE
        ELSE ((prompt_tokens * 25 + completion_tokens * 100) / 10000000)::DOUBLE
    END,
    CASE
        WHEN kind <> 'cais' THEN NULL
        WHEN trap(e, 48, 6) THEN [0.4, 12.5, 1234.567, NULL][1 + mix(e, 49) % 4]
        ELSE (200000 + mix(e, 50) % 4000000) / 1000
    END,
    CASE
        WHEN kind <> 'environment' THEN NULL
        WHEN rare(e, 51, 997) THEN -0.0::DOUBLE
        ELSE [NULL, NULL, 0.0, 1.0, -0.1, 0.1 + 0.2::DOUBLE, 0.0, 0.25][1 + mix(e, 52) % 8]::DOUBLE
    END,
    CASE WHEN kind = 'environment' AND mix(e, 53) % 3 > 0 THEN j = steps - 1 END,
    CASE
        WHEN kind = 'runtime' THEN 'null'
        WHEN kind = 'environment' THEN '{"obs": {"pos": [' || mix(e, 54) % 64 || ', ' || mix(e, 55) % 64
            || ']}}'
        WHEN trap(e, 56, 9) THEN 'null'
        WHEN trap(e, 57, 199) THEN NULL
        ELSE '{"gen_ai.request.model": "' || model
            || '", "gen_ai.request.messages": [{"role": "user", "content": '
             || '"na\\u00efve caf\\u00e9 \\u2014 \\u65e5\\u672c\\u8a9e \\ud83d\\ude80 step ' || j || '"}]}'
    END,
    CASE
        WHEN kind = 'runtime' THEN 'null'
        WHEN kind = 'environment' THEN
            CASE WHEN trap(e, 58, 83) THEN '{"obs": {"score": NaN, "limit": -Infinity}}'
                ELSE '{"obs": null}' END
        WHEN trap(e, 59, 61) THEN '{"pre": "serialised", "n": 9007199254740993, "x": 1e400}'
        ELSE '{"gen_ai.response.usage.prompt_tokens": ' || prompt_tokens || ', "content": "ok"}'
    END,
    CASE
        WHEN kind = 'runtime' THEN '{"action_name": "move_\\u53f3", "valid": true, "actions_in_meta": ['
            || j || ']}'
        WHEN kind = 'environment' THEN '{"achievements": [], "inventory": {"wood": ' || mix(e, 60) % 9 || '}}'
        WHEN trap(e, 61, 71) THEN '{}'
        WHEN trap(e, 62, 73) THEN '{"cost_usd": "mine", "step_id": 7, "nul": "\\u0000"}'
        ELSE '{"duration_ms": 12.5, "temp": 0.' || lpad((mix(e, 63) % 1000000000)::VARCHAR, 9, '0') || '}'
    END,
    CASE
        WHEN kind = 'runtime' AND mix(e, 64) % 4 = 0
            THEN '["{''signal_type'': ''invalid_action'', ''reward'': -1}"]'
        WHEN kind = 'cais' AND mix(e, 64) % 4 = 0 THEN '["{''hook'': ''h1'', ''v'': ' || j || '}"]'
        WHEN kind = 'environment' AND mix(e, 64) % 9 = 0 THEN '["first visit", {"n": 1}]'
    END
FROM (
    SELECT
        *,
        ['cais', 'environment', 'runtime', 'cais'][1 + k] AS kind,
        $model AS model,
        k IN (0, 3) AND NOT trap(e, 66, 19) AS named,
        k IN (0, 3) AND mix(e, 67) % 3 = 0 AS traced,
        40 + mix(e, 68) % 3000 AS prompt_tokens,
        1 + mix(e, 69) % 600 AS completion_tokens
    FROM (SELECT *, g * 8 + k AS e FROM step, range(4) r(k)
        WHERE k < num_events AND NOT (lost_steps AND j >= 3))
)
ORDER BY i, j, k
"""

# One list, one place: the contents that a careless converter spoils. Each is a JSON document.
_ODD_CONTENTS = [
    r'"nul\u0000byte"',
    r'"{\"looks\":\"like json\"}"',
    r'"[1, 2"',
    '"null"',
    "null",
    '"123"',
    '"true"',
    "true",
    "42",
    "1.5e+300",
    "1e400",
    "NaN",
    "-0.0",
    "18446744073709551616",
    '{"score": NaN, "best": Infinity}',
    '{"payload": {"inventory": {"wood": 9007199254740993}, "f": 0.30000000000000004}}',
    '[{"role": "system", "content": "You are\\u2026"}, {"role": "user", "content": [{"type": "image_url", '
    '"image_url": {"url": "data:image/png;base64,AAAA"}}]}]',
    r'"emoji \ud83e\uddea zero\u200bwidth"',
    '"raw 🧪 text"',
    '""',
    "[]",
    "{}",
    r'"quote \' \" back\\slash\nnewline\ttab"'.replace(r"\'", "''"),
    '{"role": "user", "content": ""}',
    '{"a": 1, "a": 2}',
    '{ "spaced" : [ 1 ,2 ] }',
    '{"content": "not an envelope", "timestamp": "2025-01-01T00:00:00", "message_type": "user"}',
]
_QUOTED = ", ".join(f"'{text}'" for text in _ODD_CONTENTS)
_ODD = f"[{_QUOTED}][1 + mix(e, 89) % {len(_ODD_CONTENTS)}]"

MESSAGES = """
INSERT INTO messages
    (id, session_id, timestep_id, message_type, content, timestamp, event_time, message_time)
SELECT
    $messages + row_number() OVER (ORDER BY i, j, k), session_id, NULL,
    CASE WHEN early THEN 'SessionEventMessage' ELSE kind END,
    CASE
        WHEN early THEN
            '{"content": ' || content || ', "timestamp": "' || strftime(saved, '%Y-%m-%dT%H:%M:%S.%f')
            || '", "message_type": "' || kind || '"' ||
            CASE
                WHEN recorded IS NULL THEN ''
                ELSE ', "time_record": {"event_time": ' ||
                     CASE mix(e, 81) % 3
                         WHEN 0 THEN '"' || strftime(recorded, '%Y-%m-%dT%H:%M:%S') || 'Z"'
                         WHEN 1 THEN epoch(recorded)::BIGINT || '.123456'
                         ELSE '"' || strftime(recorded, '%Y-%m-%dT%H:%M:%S.%f') || '"'
                     END || ', "message_time": ' || j || '}'
            END || '}'
        ELSE content
    END,
    saved, recorded, CASE WHEN NOT trap(e, 82, 41) THEN j END
FROM (
    SELECT
        *,
        created_at + to_microseconds(3710000000 + (j * 4 + k) * 900) AS saved,
        CASE WHEN NOT trap(e, 83, 59) THEN
            CASE WHEN early AND mix(e, 81) % 3 < 2 THEN date_trunc('second', spoken) ELSE spoken END
            + to_microseconds(CASE WHEN early AND mix(e, 81) % 3 = 1 THEN 123456 ELSE 0 END)
        END AS recorded,
        CASE k
            WHEN 0 THEN ['user', 'llm_prompt', 'system', 'observation', 'user'][1 + mix(e, 85) % $kinds]
            WHEN 1 THEN ['assistant', 'llm_completion', 'tool_use', 'tool_call',
                'action'][1 + mix(e, 86) % $kinds]
            ELSE ['tool_result', 'observation', 'unknown', 'policy_system_prompt',
                'action'][1 + mix(e, 87) % $kinds]
        END AS kind,
        CASE
            WHEN trap(e, 88, 12) THEN $odd_contents
            WHEN k = 1 THEN '"I will move right and collect the wood that lies ' || mix(e, 90) % 30
                 || ' steps away, then place the table at ' || mix(e, 97) || ' (turn ' || j || ')."'
            WHEN k = 0 AND mix(e, 91) % 4 = 0 THEN
                 '{"role": "user", "content": "na\\u00efve caf\\u00e9 \\u2014 \\u65e5\\u672c\\u8a9e '
                     || mix(e, 92) || '"}'
            WHEN k = 0 THEN '"You are at (' || mix(e, 93) % 64 || ', ' || mix(e, 94) % 64
                 || '). You see grass, a tree and a cow. Health 9, food ' || mix(e, 95) % 10
                     || ', what do you do?"'
            ELSE '{"payload": {"inventory": {"wood": ' || mix(e, 96) % 9 || '}, "f": 0.5}}'
        END AS content
    FROM (
        SELECT
            *, g * 8 + k AS e,
            created_at + to_microseconds(
                j * 4100000 + k * 1300 - CASE WHEN trap(g * 8 + k, 84, 47) THEN 9000000 ELSE 0 END
            ) AS spoken
        FROM step, range(3) r(k)
        WHERE k < num_messages AND NOT (lost_messages AND j = steps - 1 AND k > 0) AND NOT (lost_steps
            AND j >= 3)
    )
)
ORDER BY i, j, k
"""

# Longer pieces that stand in the statements above by name.
FRAGMENTS = {
    "session_metadata": _SESSION_METADATA,
    "model": _model("mix(e, 65)"),
    "odd_contents": _ODD,
}

CATALOG = """
INSERT INTO systems SELECT 'sys'
    || s, 'crafter-agent', CASE WHEN s = 0 THEN '' WHEN s = 1 THEN 'Crafter ReAct Agent' END
FROM range($systems) r(s);
INSERT INTO system_versions
SELECT 'ver' || s || '-' || v, 'sys'
    || s, 'main', repeat('0', 40), TIMESTAMP '2025-01-06 07:00:00' + to_seconds(s * 60 + v),
       CASE v WHEN 0 THEN 'same branch and commit twice' WHEN 1 THEN '' END
FROM range($systems) r(s), range(2) q(v);
INSERT INTO experiments
SELECT 'exp' || x, CASE WHEN x < 2 THEN 'same-name'
    ELSE 'exp ' || x || ' 日本' END, CASE WHEN x <> 1 THEN 'desc' END,
       TIMESTAMP '2025-01-06 07:30:00' + to_seconds(x), TIMESTAMP '2025-01-06 07:30:00' + to_seconds(x * 2)
FROM range($experiments) r(x);
INSERT INTO experimental_systems
SELECT 'exp' || x, 'sys' || s, 'ver' || s || '-'
    || (x % 2) FROM range($experiments) r(x), range($systems) q(s)
WHERE s = x % $systems OR x % 7 = 2
"""

# Rows whose session is not there: what is left when someone deleted a session by hand. Only the final form,
# which has no foreign keys, can hold them.
ORPHANS = """
INSERT INTO session_timesteps SELECT $timesteps + 1, 'gone-session', 'turn_0', 0, TIMESTAMP '2025-01-05', 1,
    1, NULL;
INSERT INTO events (id, session_id, event_type, system_instance_id, event_time)
SELECT $events + 1 + n, 'gone-session', 'runtime', 'runtime', TIMESTAMP '2025-01-05' FROM range(3) r(n);
INSERT INTO messages (id, session_id, message_type, content)
SELECT $messages + 1 + n, 'gone-session', 'user', '"left behind"' FROM range(2) r(n)
"""
