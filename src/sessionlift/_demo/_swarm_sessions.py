"""Made-up LangSwarm V1 sessions, one at a time: the plain ones, before a trap is put into any."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

Json = dict[str, Any]

# provider as typed -> model, session_control that the old program would choose
PROVIDERS = {
    "openai": ("gpt-4o", "hybrid"),
    "claude": ("claude-3-5-sonnet-20241022", "langswarm"),
    "gemini": ("gemini-1.5-pro", "langswarm"),
    "mistral": ("mistral-large", "hybrid"),
    "cohere": ("command-r", "langswarm"),
    "gpt": ("gpt-4o", "langswarm"),
    "OpenAI": ("gpt-4o-mini", "hybrid"),
    "CLAUDE": ("claude-3-haiku", "langswarm"),
    "test": ("test-model", "langswarm"),
    "none": ("none", "langswarm"),
}
_STATUSES = ("active", "active", "active", "inactive", "archived", "expired")
_WORDS = (
    *("order", "refund", "naïve", "straße", "привет", "東京", "شكرا", "👍🏽", "null", "None", "true", "{json}", "<b>"),
    *("'quote'", '"dq"', "back\\slash", "nl\n", "tab\t", "please", "could", "you", "check", "the", "invoice"),
)
_COLUMNS = (
    "session_id",
    "user_id",
    "provider",
    "model",
    "status",
    "session_control",
    "created_at",
    "updated_at",
    "last_activity",
)
COLUMNS = (*_COLUMNS, "metadata", "history")


@dataclass
class MadeSession:
    """One session as the old program holds it, and what was done to its row by other hands.

    ``columns`` and ``cells`` stand in the row instead of what the session itself would give: ``cells`` are the
    JSON cells themselves, which only a SQLite row can hold otherwise than as JSON.
    """

    key: str
    metadata: Json
    history: Json
    random: Random
    trap: str | None = None
    readable: bool = True
    columns: Json = field(default_factory=dict)
    cells: dict[str, str | bytes] = field(default_factory=dict)

    @property
    def messages(self) -> list[Any]:
        found: list[Any] = self.history["messages"]
        return found

    def to_dict(self) -> Json:
        """The session as a dump has it."""
        return {"metadata": self.metadata, "history": self.history}

    def row(self) -> tuple[Any, ...]:
        """The cells of its row, in the order of ``COLUMNS``."""
        plain = {**self.metadata, "session_id": self.key, **self.columns}
        cells = {"metadata": json.dumps(self.metadata), "history": json.dumps(self.history), **self.cells}
        return (*(plain[name] for name in _COLUMNS), cells["metadata"], cells["history"])

    def answer(self) -> Json | None:
        """What the old program answers for it, as plain values; None where it cannot read it.

        Keys that it does not know are gone, missing ones have its defaults, and each time is spelled as it
        spells it.
        """
        if not self.readable:
            return None
        metadata, history = self.metadata, self.history
        return {
            "metadata": {
                **{name: metadata[name] for name in ("user_id", "session_id", "provider", "model")},
                "created_at": _respelled(metadata["created_at"]),
                "updated_at": _respelled(metadata["updated_at"]),
                **{name: metadata[name] for name in ("status", "session_control")},
                **{name: metadata.get(name) for name in _REFERENCES},
                **{name: metadata.get(name, given()) for name, given in _GIVEN.items()},
                "last_activity": _respelled(metadata.get("last_activity")),
                "tags": metadata.get("tags", []),
                "custom_metadata": metadata.get("custom_metadata", {}),
            },
            "history": {
                "session_id": history["session_id"],
                "messages": [_message_answer(message) for message in history.get("messages", [])],
                "summary": history.get("summary"),
                "total_tokens": history.get("total_tokens", 0),
                "truncated_at": _respelled(history.get("truncated_at")),
            },
        }


_REFERENCES = ("provider_thread_id", "provider_conversation_id", "provider_agent_id", "context_limit")
_GIVEN: dict[str, Callable[[], Any]] = {
    "auto_truncate": lambda: True,
    "summarization_enabled": lambda: True,
    "message_count": int,
    "total_tokens": int,
}


def _respelled(text: str | None) -> str | None:
    return datetime.fromisoformat(text).isoformat() if text else None


def _message_answer(message: Json) -> Json:
    return {
        **{name: message[name] for name in ("id", "role", "content")},
        "timestamp": _respelled(message["timestamp"]),
        "metadata": message.get("metadata", {}),
        **{name: message.get(name) for name in ("tool_calls", "tool_call_id", "provider_message_id")},
    }


def plain_session(at: int, seed: int) -> MadeSession:
    """The ``at``-th session of a seed, without traps: 2 to 20 messages, most of them short."""
    random = Random(f"{seed}:{at}")  # noqa: S311 - rows to try things on, not secrets
    key = f"session_{random.getrandbits(32):08x}" if at % 9 else f"support-{at}"
    provider = random.choice(tuple(PROVIDERS)[:5] if random.random() < 0.8 else tuple(PROVIDERS))
    model, control = PROVIDERS[provider]
    created = datetime(2025, 1, 6, 8) + timedelta(minutes=37 * at, microseconds=random.choice((0, 1, 500, 999_999)))
    messages = _talk(random, created)
    last = messages[-1]["timestamp"] if messages else None
    metadata = {
        "user_id": f"user_{random.randrange(max(3, at // 7 + 3))}",
        "session_id": key,
        "provider": provider,
        "model": model,
        "created_at": created.isoformat(),
        "updated_at": last or created.isoformat(),
        "status": random.choice(_STATUSES),
        "session_control": control,
        "provider_thread_id": f"thread_{random.getrandbits(48):012x}" if provider == "openai" else None,
        "provider_conversation_id": f"conv_{random.getrandbits(32):08x}" if provider == "mistral" else None,
        "provider_agent_id": "asst_9" if random.random() < 0.1 else None,
        "context_limit": random.choice((None, None, 40, 50)),
        "auto_truncate": random.random() < 0.9,
        "summarization_enabled": random.random() < 0.9,
        "message_count": len(messages),
        "total_tokens": random.choice((0, 0, 50, 4242)),
        "last_activity": last,
        "tags": random.sample(["vip", "naïve", "beta", "vip"], random.choice((0, 0, 1, 2))),
        "custom_metadata": {"agent_name": "Bot", "nested": {"a": [1, {"b": None}]}} if random.random() < 0.2 else {},
    }
    history = {
        "session_id": key,
        "messages": messages,
        "summary": "they talked of an invoice" if random.random() < 0.1 else None,
        "total_tokens": sum(len(message["content"].split()) for message in messages),
        "truncated_at": None,
    }
    return MadeSession(key, metadata, history, random)


def _talk(random: Random, created: datetime) -> list[Json]:
    count = random.choice((2, 4, 6, 8, 10, 10, 12, 14, 20))
    moment, found = created, []
    for at in range(count):
        moment += timedelta(seconds=random.randrange(1, 90), microseconds=random.choice((0, 250_000, 7)))
        role = "system" if at == 0 and random.random() < 0.5 else ("user", "assistant")[at % 2]
        text = " ".join(random.choice(_WORDS) for _ in range(random.randrange(1, 40)))
        found.append(message(random, role, text, moment))
        if role == "user" and random.random() < 0.3:
            found[-1]["metadata"] = {"client": random.choice(("web", "ios")), "n": at}
        elif role == "assistant" and random.random() < 0.2 and at + 1 < count:
            call = f"call_{at}"
            arguments = json.dumps({"q": text[:12]})
            found[-1]["tool_calls"] = [
                {"id": call, "type": "function", "function": {"name": "lookup", "arguments": arguments}}
            ]
            moment += timedelta(seconds=1)
            found.append(message(random, "tool", '{"rows": [1, null, 2.5]}', moment))
            found[-1]["tool_call_id"] = call
        elif role == "assistant":
            reply = f"{random.getrandbits(32):08x}"
            found[-1].update(id=f"openai_{reply}", provider_message_id=reply)
    return found


def message(random: Random, role: str, content: object, moment: datetime) -> Json:
    """One message as the old program writes it."""
    return {
        "id": f"msg_{random.getrandbits(32):08x}",
        "role": role,
        "content": content,
        "timestamp": moment.isoformat(),
        "metadata": {},
        "tool_calls": None,
        "tool_call_id": None,
        "provider_message_id": None,
    }
