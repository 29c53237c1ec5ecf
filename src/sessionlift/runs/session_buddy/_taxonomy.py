"""The taxonomy: categories, modalities and dependencies that the program's own script seeds."""

from __future__ import annotations

from sessionlift.generations import Oddity
from sessionlift.runs.session_buddy._step_result import StepResult
from sessionlift.stores import Store

CATEGORIES = (
    ("Code Quality", "code", "Checks and improvements of code"),
    ("Testing", "testing", "Running tests and measuring their coverage"),
    ("Documentation", "documentation", "Writing and building documents"),
    ("Build & Deploy", "deployment", "Building, packing and shipping"),
    ("Git & Version Control", "code", "Commits, branches and remotes"),
    ("Linting & Formatting", "code", "Style of the source"),
)
# skill, modality, input, output, needs a human's review
MODALITIES = (
    ("ruff-check", "code", "python_source", "diagnostics", 0),
    ("pytest-run", "testing", "python_tests", "test_results", 0),
    ("sphinx-build", "documentation", "rst_docs", "html_docs", 1),
    ("docker-build", "deployment", "dockerfile", "docker_image", 0),
)
# the two skills in the order in which the program's script seeds them, and the lift
DEPENDENCIES = (
    ("ruff-check", "black-format", 3.5),
    ("pytest-run", "coverage-report", 2.8),
    ("git-commit", "git-push", 4.2),
    ("docker-build", "k8s-deploy", 2.1),
)
_SEEDED = 1
"""The co-occurrences that a seeded dependency has."""


def taxonomy(store: Store, *, known_only: bool = False) -> StepResult:
    """Enter what is missing of the taxonomy; nothing that is there is changed. Needs the caller's transaction.

    Modalities and dependencies refer to skills. One that has none gets a row of zeros in ``skill_metrics``, so
    that nothing is orphaned; with ``known_only`` what refers to it is left out instead.
    """
    result = StepResult(written={"skill_categories": 0, "skill_modalities": 0, "skill_dependencies": 0})
    for name, domain, description in CATEGORIES:
        result.written["skill_categories"] += store.execute(
            "INSERT INTO skill_categories (category_name, domain, description) SELECT ?, ?, ? "
            "WHERE NOT EXISTS (SELECT 1 FROM skill_categories WHERE category_name = ?)",
            (name, domain, description, name),
        )
    wanted = {skill for skill, *_ in MODALITIES} | {skill for pair in DEPENDENCIES for skill in pair[:2]}
    known = {str(name) for (name,) in store.query("SELECT skill_name FROM skill_metrics")}
    unused = sorted(wanted - known)
    if unused and not known_only:
        result.written["skill_metrics"] = sum(
            store.execute("INSERT INTO skill_metrics (skill_name) VALUES (?)", (skill,)) for skill in unused
        )
        known |= set(unused)
    for skill, kind, source, target, review in MODALITIES:
        if skill in known:
            result.written["skill_modalities"] += store.execute(
                "INSERT INTO skill_modalities (skill_name, modality_type, input_format, output_format, "
                "requires_human_review) SELECT ?, ?, ?, ?, ? "
                "WHERE NOT EXISTS (SELECT 1 FROM skill_modalities WHERE skill_name = ?)",
                (skill, kind, source, target, review, skill),
            )
    for first, second, lift in DEPENDENCIES:
        if first in known and second in known:
            result.written["skill_dependencies"] += store.execute(
                "INSERT INTO skill_dependencies (skill_a, skill_b, co_occurrence_count, lift_score) SELECT ?, ?, ?, ? "
                "WHERE NOT EXISTS (SELECT 1 FROM skill_dependencies WHERE skill_a = ? AND skill_b = ?)",
                (first, second, _SEEDED, lift, first, second),
            )
    if unused:
        meaning = (
            "skills of the taxonomy that have no row in skill_metrics; what refers to them was left out"
            if known_only
            else "skills of the taxonomy that had no row in skill_metrics; they got one of zeros"
        )
        result.oddities.append(Oddity("skill_without_metrics", "skill_metrics", len(unused), meaning, list(unused[:3])))
    _look_again(store, result, known)
    return result


def is_seed(first: str, second: str, count: object, lift: object) -> bool:
    """Whether a row of ``skill_dependencies`` is one of the seeds, as they are entered."""
    return (first, second, lift) in DEPENDENCIES and count == _SEEDED


def _look_again(store: Store, result: StepResult, known: set[str]) -> None:
    there = {str(name) for (name,) in store.query("SELECT category_name FROM skill_categories")}
    result.wrong += [f"the category {name} is missing" for name, *_ in CATEGORIES if name not in there]
    orphans = store.query(
        "SELECT count(*) FROM (SELECT skill_name FROM skill_modalities UNION ALL SELECT skill_a FROM "
        "skill_dependencies UNION ALL SELECT skill_b FROM skill_dependencies) WHERE skill_name NOT IN "
        "(SELECT skill_name FROM skill_metrics)"
    )[0][0]
    entered = {skill for skill, *_ in MODALITIES if skill in known}
    modal = {str(name) for (name,) in store.query("SELECT skill_name FROM skill_modalities")}
    result.wrong += [f"the modality of {skill} is missing" for skill in sorted(entered - modal)]
    result.looked = len(there) + len(modal)
    if orphans:
        result.oddities.append(
            Oddity(
                "broken_link",
                "skill_modalities",
                int(str(orphans)),
                "rows of modalities and dependencies whose skill is not in skill_metrics; not written by this step",
            )
        )
