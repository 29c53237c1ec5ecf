"""How each known generation is told from the others: by tables and columns that it alone has together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sessionlift.generations._synth_form import COLUMNS as SYNTH_V2_COLUMNS

Shape = Mapping[str, frozenset[str]]
VERSION_TABLE = "sessionlift_version"


def _words(names: str) -> frozenset[str]:
    return frozenset(names.split())


@dataclass(frozen=True)
class Signature:
    """One generation. ``needs`` must all be there and ``never`` must not; ``own`` are tables no other has.

    ``whole`` is the rest of its tables and columns: without some of it the store is an older form, and with
    any of ``later`` a newer one. ``guests`` are tables
    that another generation's program adds when it opens the file by mistake: empty, they do not count. A
    ``weak`` one has names that any program might use: it counts only where
    nothing else fits.
    """

    generation: str
    engine: str
    needs: Shape
    never: Shape = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    whole: Shape = field(default_factory=dict)
    later: Shape = field(default_factory=dict)
    guests: frozenset[str] = frozenset()
    weak: bool = False

    @property
    def system(self) -> str:
        return self.generation.split(".")[0]

    @property
    def tables(self) -> set[str]:
        """Every table that belongs to this generation."""
        return {*self.needs, *self.whole}

    def columns(self, table: str) -> frozenset[str]:
        """Every column that some form of it has in ``table``."""
        return frozenset().union(*(part.get(table, frozenset()) for part in (self.needs, self.whole, self.later)))

    def against(self, shape: Shape) -> list[str]:
        """What speaks against it, one line each; empty when the structure fits."""
        said = []
        for table, columns in self.needs.items():
            if table not in shape:
                said.append(f"no table {table}")
            elif lacking := columns - shape[table]:
                said.append(f"no column {_listed(table, lacking)}")
        for table, columns in self.never.items():
            if found := columns & shape.get(table, frozenset()):
                said.append(f"column {_listed(table, found)}")
        return said

    def lacking(self, shape: Shape) -> list[str]:
        """What an older form of it does not have."""
        said = [f"table {table}" for table in self.whole if table not in shape]
        said += [
            _listed(table, lacking)
            for table, columns in self.whole.items()
            if table in shape and (lacking := columns - shape[table])
        ]
        return said

    def newer(self, shape: Shape) -> list[str]:
        """What only a newer form of it has."""
        return [
            _listed(table, found)
            for table, columns in self.later.items()
            if (found := columns & shape.get(table, frozenset()))
        ]


def _listed(table: str, columns: frozenset[str]) -> str:
    return ", ".join(f"{table}.{column}" for column in sorted(columns))


_SYNTH_V2 = Signature(
    generation="synth.v2",
    engine="duckdb",
    needs={table: frozenset(columns) for table, columns in SYNTH_V2_COLUMNS.items()},
    never={"events": _words("cost_usd input_tokens output_tokens call_records")},
)

_SYNTH_V3 = Signature(
    generation="synth.v3",
    engine="sqlite",
    needs={
        "session_traces": _words("session_id created_at num_timesteps num_events num_messages metadata experiment_id"),
        "session_timesteps": _words(
            "id session_id step_id step_index turn_number started_at completed_at num_events num_messages step_metadata"
        ),
        "events": _words(
            "id session_id timestep_id event_type system_instance_id event_time message_time created_at "
            "model_name provider input_tokens output_tokens total_tokens cost_usd latency_ms span_id "
            "trace_id reward terminated truncated system_state_before system_state_after metadata "
            "event_metadata"
        ),
        "messages": _words("id session_id timestep_id message_type content timestamp event_time message_time metadata"),
        "experiments": _words("experiment_id name description created_at updated_at configuration metadata"),
        "systems": _words("system_id name system_type description created_at metadata"),
        "system_versions": _words("version_id system_id version_number commit_hash created_at metadata"),
        "experimental_systems": _words("id experiment_id system_id version_id"),
    },
    never={"events": _words("cost prompt_tokens completion_tokens")},
    whole={
        "session_traces": _words("embedding"),
        "events": _words("call_records embedding"),
        "messages": _words("embedding"),
        "system_versions": _words("configuration"),
        "outcome_rewards": _words(
            "id session_id total_reward achievements_count total_steps created_at reward_metadata"
        ),
        "event_rewards": _words(
            "id event_id session_id message_id turn_number reward_value reward_type key annotation source created_at"
        ),
    },
    later={"outcome_rewards": _words("annotation")},
)

_LANGSWARM_V1 = Signature(
    generation="langswarm.v1",
    engine="sqlite",
    needs={"sessions": _words("session_id user_id provider model status session_control metadata history")},
    never={"sessions": _words("backend context_data")},
    whole={"sessions": _words("created_at updated_at last_activity")},
    guests=_words("session_messages session_metrics"),
)

_LANGSWARM_V1_MEMORY = Signature(
    generation="langswarm.v1",
    engine="sqlite",
    needs={"memory": _words("key value metadata")},
    weak=True,
)

_LANGSWARM_V2 = Signature(
    generation="langswarm.v2",
    engine="sqlite",
    needs={
        "sessions": _words("session_id user_id provider model backend context_data"),
        "session_messages": _words("id session_id message_id role content timestamp"),
    },
    never={"sessions": _words("history session_control")},
    whole={
        "sessions": _words("created_at updated_at"),
        "session_messages": _words("metadata provider_message_id token_count finish_reason"),
        "session_metrics": _words("session_id message_count total_tokens session_duration last_activity created_at"),
    },
    own=frozenset({"session_messages", "session_metrics"}),
)

_BUDDY_CORE: Shape = {
    "skill_metrics": _words("skill_name"),
    "session_skills": _words("session_id skill_name"),
}
_BUDDY_V4_OWN = _words(
    "ab_test_assignments ab_test_configs ab_test_outcomes skill_anomalies skill_categories "
    "skill_category_mapping skill_cluster_membership skill_clusters skill_community_baselines "
    "skill_dependencies skill_metrics_cache skill_modalities skill_time_series skill_user_interactions"
)
_PHASE = "workflow_phase workflow_step_id"


def _buddy(version: int, has: str, lacks: str, *, own: frozenset[str] = frozenset()) -> Signature:
    invocation = _words(f"id skill_name invoked_at session_id {has}")
    return Signature(
        generation=f"session_buddy.v{version}",
        engine="sqlite",
        needs={"skill_invocation": invocation, **_BUDDY_CORE, **dict.fromkeys(sorted(own), frozenset())},
        never={"skill_invocation": _words(lacks)},
        own=own,
    )


# session_buddy.v3 and .v4 have the same columns: v4 is v3 with tables of its own, so it must come first
SIGNATURES: tuple[Signature, ...] = (
    _SYNTH_V2,
    _SYNTH_V3,
    _LANGSWARM_V1,
    _LANGSWARM_V1_MEMORY,
    _LANGSWARM_V2,
    _buddy(4, f"embedding {_PHASE}", "", own=_BUDDY_V4_OWN),
    _buddy(3, f"embedding {_PHASE}", ""),
    _buddy(2, "embedding", _PHASE),
    _buddy(1, "", f"embedding {_PHASE}"),
)
