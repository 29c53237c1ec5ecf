"""Which skills are used together: by the formula of the program that reads it, and by the textbook's beside it."""

from __future__ import annotations

from sessionlift.generations import Oddity
from sessionlift.runs.session_buddy._step_result import StepResult
from sessionlift.runs.session_buddy._taxonomy import is_seed
from sessionlift.stores import Store

_TOLD = 20
# pairs of invocations for each session; sessions that hold both
_PAIRS = """
SELECT
    one.skill_name,
    other.skill_name,
    sum(one.times * other.times) AS together,
    count(*) AS sessions
FROM (SELECT session_id, skill_name, count(*) AS times FROM skill_invocation GROUP BY 1, 2) AS one
JOIN (SELECT session_id, skill_name, count(*) AS times FROM skill_invocation GROUP BY 1, 2) AS other
    ON other.session_id = one.session_id AND other.skill_name > one.skill_name
GROUP BY 1, 2
HAVING sum(one.times * other.times) >= ?
ORDER BY 1, 2
"""


def dependencies(store: Store, *, min_count: int = 5) -> StepResult:
    """Enter every pair of skills that was used together at least ``min_count`` times. Needs the caller's transaction.

    ``lift_score`` is what the program's reader works with: pairs of invocations by the product of both skills'
    invocations. No row is ever removed, and a seeded pair stays as it was seeded, in whichever order its skills
    stand; a computed pair that is there already is brought up to date. The textbook's lift (sessions with both, times
    all sessions, by the product of the sessions with each) stands in the result for the strongest pairs.
    """
    result = StepResult(written={"skill_dependencies": 0})
    uses = {
        str(skill): (int(str(times)), int(str(sessions)))
        for skill, times, sessions in store.query(
            "SELECT skill_name, count(*), count(DISTINCT session_id) FROM skill_invocation GROUP BY 1"
        )
    }
    sessions = int(str(store.query("SELECT count(DISTINCT session_id) FROM skill_invocation")[0][0]))
    known = {str(name) for (name,) in store.query("SELECT skill_name FROM skill_metrics")}
    there = {
        (str(first), str(second)): (count, lift)
        for first, second, count, lift in store.query(
            "SELECT skill_a, skill_b, co_occurrence_count, lift_score FROM skill_dependencies"
        )
    }
    seeds = {frozenset(pair) for pair, (count, lift) in there.items() if is_seed(*pair, count, lift)}
    orphans: list[str] = []
    kept: list[str] = []
    told: list[dict[str, object]] = []
    for row in store.query(_PAIRS, (min_count,)):
        first, second, together, both = str(row[0]), str(row[1]), int(str(row[2])), int(str(row[3]))
        lift = together / (uses[first][0] * uses[second][0])
        textbook = sessions * both / (uses[first][1] * uses[second][1])
        told.append(
            {"pair": [first, second], "together": together, "lift_score": lift, "sessions": both, "textbook": textbook}
        )
        if first not in known or second not in known:
            orphans.append(f"{first} / {second}")
        elif frozenset((first, second)) in seeds:
            kept.append(f"{first} / {second}")
        else:
            result.written["skill_dependencies"] += store.execute(
                "INSERT INTO skill_dependencies (skill_a, skill_b, co_occurrence_count, lift_score) "
                "VALUES (?, ?, ?, ?) ON CONFLICT (skill_a, skill_b) DO UPDATE SET co_occurrence_count = "
                "excluded.co_occurrence_count, lift_score = excluded.lift_score, last_updated = datetime('now') "
                "WHERE (co_occurrence_count, lift_score) IS NOT (excluded.co_occurrence_count, excluded.lift_score)",
                (first, second, together, lift),
            )
    told.sort(key=lambda pair: -float(str(pair["textbook"])))
    result.found = {"pairs": len(told), "sessions": sessions, "strongest_by_textbook": told[:_TOLD]}
    for code, names, meaning in (
        ("seed_kept", kept, "seeded pairs that were used together, too: the seed stays, the figures are in the report"),
        ("skill_without_metrics", orphans, "pairs with a skill that has no row in skill_metrics; they were left out"),
    ):
        if names:
            result.oddities.append(Oddity(code, "skill_dependencies", len(names), meaning, list(names[:3])))
    _look_again(store, result, {pair: there[pair] for pair in there if is_seed(*pair, *there[pair])})
    return result


def _look_again(store: Store, result: StepResult, seeds: dict[tuple[str, str], object]) -> None:
    rows = store.query("SELECT skill_a, skill_b, co_occurrence_count, lift_score FROM skill_dependencies")
    result.looked = len(rows)
    found = {(str(first), str(second)): (count, lift) for first, second, count, lift in rows}
    result.wrong += [f"the seed {pair} is not as it was" for pair, was in seeds.items() if found.get(pair) != was]
    result.wrong += [
        f"the pair {pair} stands in both orders" for pair in found if pair[0] < pair[1] and pair[::-1] in found
    ]
