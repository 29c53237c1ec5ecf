"""The community's baselines: what each skill does over all sessions, to hold one user's figures against."""

from __future__ import annotations

from sessionlift.generations import HAS_SKILL, Oddity
from sessionlift.runs.session_buddy._step_result import StepResult
from sessionlift.stores import Store

# the share that was completed is one of 0 to 1 here: the view subtracts it from such a share
_BASELINES = f"""
SELECT
    used.skill_name AS skill,
    count(DISTINCT used.session_id) AS users,
    count(*) AS invocations,
    avg(iif(used.completed = 1, 1.0, 0.0)) AS rate,
    avg(iif(used.completed = 1, used.duration_seconds, NULL)) AS duration,
    (
        SELECT phase.workflow_phase FROM skill_invocation AS phase
        WHERE phase.skill_name = used.skill_name AND phase.workflow_phase IS NOT NULL
        GROUP BY phase.workflow_phase ORDER BY count(*) DESC, phase.workflow_phase LIMIT 1
    ) AS phase,
    100.0 * percent_rank() OVER (ORDER BY avg(iif(used.completed = 1, 1.0, 0.0))) AS percentile
FROM skill_invocation AS used
WHERE {HAS_SKILL}
GROUP BY used.skill_name
"""


def baselines(store: Store) -> StepResult:
    """Enter the baseline of every skill, or bring it up to date; run again, it writes nothing. Needs the caller's
    transaction.

    ``total_users`` counts sessions, as the program does: it keeps no other user. The percentile is that of the share
    of completed invocations among all skills, from 0 (none is lower) to 100, and never NULL.
    """
    result = StepResult()
    result.written["skill_community_baselines"] = store.execute(
        "INSERT INTO skill_community_baselines (skill_name, total_users, total_invocations, global_completion_rate, "
        "global_avg_duration_seconds, most_common_workflow_phase, effectiveness_percentile, last_updated) "
        "SELECT skill, users, invocations, rate, duration, phase, percentile, "
        f"strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now') FROM ({_BASELINES}) AS fresh WHERE 1 "
        "ON CONFLICT (skill_name) DO UPDATE SET total_users = excluded.total_users, "
        "total_invocations = excluded.total_invocations, global_completion_rate = excluded.global_completion_rate, "
        "global_avg_duration_seconds = excluded.global_avg_duration_seconds, "
        "most_common_workflow_phase = excluded.most_common_workflow_phase, "
        "effectiveness_percentile = excluded.effectiveness_percentile, last_updated = excluded.last_updated "
        "WHERE (total_users, total_invocations, global_completion_rate, global_avg_duration_seconds, "
        "most_common_workflow_phase, effectiveness_percentile) IS NOT (excluded.total_users, "
        "excluded.total_invocations, excluded.global_completion_rate, excluded.global_avg_duration_seconds, "
        "excluded.most_common_workflow_phase, excluded.effectiveness_percentile)"
    )
    lacking = store.query(f"SELECT DISTINCT used.skill_name FROM skill_invocation AS used WHERE NOT {HAS_SKILL}")
    if lacking:
        result.oddities.append(
            Oddity(
                "skill_without_metrics",
                "skill_invocation",
                len(lacking),
                "skills without a row in skill_metrics, to which a baseline would have to refer: they have none",
                [str(name) for (name,) in lacking[:3]],
            )
        )
    skills = store.query(f"SELECT count(DISTINCT used.skill_name) FROM skill_invocation AS used WHERE {HAS_SKILL}")
    rows, nulls = store.query(
        "SELECT count(*), sum(effectiveness_percentile IS NULL) FROM skill_community_baselines WHERE skill_name IN "
        "(SELECT skill_name FROM skill_invocation)"
    )[0]
    result.looked = int(str(rows))
    result.found = {"skills": rows}
    if rows != skills[0][0] or nulls:
        result.wrong.append(f"{rows} baselines for {skills[0][0]} skills, {nulls} without a percentile")
    return result
