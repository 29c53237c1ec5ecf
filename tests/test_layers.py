"""Who may import whom, from the ground up; no arrow runs back."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "sessionlift"
GROUND = {"errors", "_version"}
# a part may import those that stand before it; parts in one set are one layer
LAYERS: list[set[str]] = [
    GROUND,
    {"stores"},
    {"generations", "alembic"},
    {"converters"},
    {"ledger"},
    {"runs"},
    {"bridge"},
    {"cli"},
    {"__main__"},
]
# beside the layers: what each may import, and who may import it
BESIDE: dict[str, tuple[set[str], set[str]]] = {
    "reports": (GROUND, {"runs", "bridge", "cli"}),
    # makes up stores for the demo, the tests and the benchmarks
    "_demo": (GROUND | {"stores", "generations", "alembic"}, {"cli"}),
}

# shares no code with the stores that write, so that the verifier can check them; nobody else may use it
VERIFIER_READER = "sessionlift.stores._hrana"
VERIFIER = PACKAGE / "runs" / "verifier"


class Import(NamedTuple):
    path: Path
    line: int
    module: str

    @property
    def importer(self) -> str:
        return part_of_file(self.path)

    @property
    def imported(self) -> str:
        return self.module.split(".")[1] if "." in self.module else ""

    def __str__(self) -> str:
        return f"{self.path.relative_to(PACKAGE)}:{self.line} imports {self.module}"


def part_of_file(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def source_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def is_module(dotted: str) -> bool:
    path = PACKAGE.parent.joinpath(*dotted.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def imports_in(path: Path, text: str | None = None) -> Iterator[Import]:
    """Every import of our own package in a file, also those inside of functions and behind TYPE_CHECKING."""
    tree = ast.parse(path.read_text("utf-8") if text is None else text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = ["sessionlift", *path.relative_to(PACKAGE).parent.parts]
                above = package[: len(package) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            # `from sessionlift.x import y` may name a module y as well as an object of x
            modules = [f"{base}.{alias.name}" if is_module(f"{base}.{alias.name}") else base for alias in node.names]
        else:
            continue
        yield from (Import(path, node.lineno, module) for module in modules if module.split(".")[0] == "sessionlift")


def all_imports() -> list[Import]:
    return [found for path in source_files() for found in imports_in(path)]


def allowed(part: str) -> set[str]:
    """The parts that ``part`` may import, itself among them."""
    if part in BESIDE:
        return BESIDE[part][0] | {part}
    below: set[str] = set()
    for layer in LAYERS:
        below |= layer
        if part in layer:
            break
    else:
        raise AssertionError(f"{part} has no place in the layers: give it one in tests/test_layers.py and DESIGN")
    return below | {name for name, (_, users) in BESIDE.items() if part in users}


def test_every_part_has_a_place() -> None:
    parts = {part_of_file(path) for path in source_files()} - {"__init__"}
    for part in sorted(parts):
        assert part in allowed(part)


def test_imports_follow_the_layers() -> None:
    wrong = [
        f"{found}: {found.importer} may import {', '.join(sorted(allowed(found.importer)))}"
        for found in all_imports()
        if found.importer != "__init__" and found.imported and found.imported not in allowed(found.importer)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_private_modules_are_reached_through_their_package() -> None:
    wrong = [
        f"{found}: a private module of another part; import its public name"
        for found in all_imports()
        if found.importer != found.imported
        and any(name.startswith("_") for name in found.module.split(".")[2:])
        and not (found.module == VERIFIER_READER and found.path.is_relative_to(VERIFIER))
        # the revisions and their machinery are one layer in two folders
        and {found.importer, found.imported} != {"alembic", "generations"}
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_the_verifier_shares_no_code_with_the_writer() -> None:
    """What it checks it must not use: no converter, no ledger, nothing of the run, only its own readers."""
    allowed_here = {"sessionlift.errors", "sessionlift.stores", VERIFIER_READER}
    wrong = [
        f"{found}: the verifier is separate code"
        for found in all_imports()
        if found.path.is_relative_to(VERIFIER)
        and found.module not in allowed_here
        and not found.module.startswith("sessionlift.runs.verifier")
    ]
    wrong += [
        f"{found}: this reader is the verifier's own"
        for found in all_imports()
        if found.module == VERIFIER_READER and not found.path.is_relative_to(VERIFIER)
    ]
    reader = PACKAGE / "stores" / "_hrana.py"
    if reader.exists():
        wrong += [
            f"{found}: it may share nothing but errors" for found in imports_in(reader) if found.imported != "errors"
        ]
    assert not wrong, "\n".join(wrong)


def test_the_package_itself_imports_nothing_heavy() -> None:
    """``import sessionlift.errors`` must not load a driver: the root must not import its parts."""
    root = PACKAGE / "__init__.py"
    found = list(imports_in(root)) if root.exists() else []
    assert not [f for f in found if f.imported not in GROUND]


@pytest.mark.parametrize(
    ("place", "text", "module"),
    [
        ("stores/_x.py", "from sessionlift.cli import main", "sessionlift.cli"),
        ("stores/_x.py", "import sessionlift.runs", "sessionlift.runs"),
        ("stores/_x.py", "from sessionlift import reports", "sessionlift.reports"),
        ("stores/_x.py", "from .. import runs", "sessionlift.runs"),
        ("stores/_x.py", "from ..ledger import x", "sessionlift.ledger"),
        ("stores/_x.py", "from ._url import x", "sessionlift.stores._url"),
        ("converters/synth/_x.py", "from ... import errors", "sessionlift.errors"),
        (
            "stores/_x.py",
            "def f():\n    if True:\n        from sessionlift.bridge import x",
            "sessionlift.bridge",
        ),
    ],
)
def test_no_way_of_writing_an_import_escapes(place: str, text: str, module: str) -> None:
    assert [found.module for found in imports_in(PACKAGE / place, text)] == [module]


def test_the_layers_are_those_of_the_design() -> None:
    assert allowed("stores") == GROUND | {"stores"}
    assert "converters" not in allowed("generations")
    assert "runs" not in allowed("ledger")
    assert "reports" in allowed("runs") & allowed("bridge") & allowed("cli")
    assert "reports" not in allowed("ledger")
    assert allowed("reports") == GROUND | {"reports"}
