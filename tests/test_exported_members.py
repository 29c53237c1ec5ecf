"""What is public is named in a sorted ``__all__``; the modules behind it are private."""

from __future__ import annotations

import importlib
import re
import types
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "sessionlift"
# modules that are public by themselves
PUBLIC_MODULES = {"errors.py"}
# Alembic finds these by their file names
ALEMBIC_FILES = "alembic"


def packages() -> list[str]:
    """Every package of ours with an ``__init__`` that is not part of Alembic's folder."""
    return sorted(
        ".".join(path.parent.relative_to(PACKAGE.parent).parts)
        for path in PACKAGE.rglob("__init__.py")
        if path.relative_to(PACKAGE).parts[0] != ALEMBIC_FILES
    )


def sort_key(name: str) -> tuple[int, list[tuple[bool, int | str]]]:
    """Constants, then classes, then functions, each in natural order: how the linter sorts ``__all__``."""
    group = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return group, [(not part.isdigit(), int(part) if part.isdigit() else part) for part in re.split(r"(\d+)", name)]


@pytest.mark.parametrize("name", packages())
def test_all_is_sorted_unique_and_resolves(name: str) -> None:
    module = importlib.import_module(name)
    public = getattr(module, "__all__", None)
    if public is None:
        assert not exposed(module), f"{name} exposes names, but has no __all__"
        return
    assert public == sorted(set(public), key=sort_key), f"{name}.__all__ is not sorted or not unique"
    missing = [item for item in public if not hasattr(module, item)]
    assert not missing, f"{name}.__all__ names what is not there: {missing}"
    assert not [item for item in public if item.startswith("_")], f"{name}.__all__ names something private"


@pytest.mark.parametrize("name", packages())
def test_nothing_is_public_by_accident(name: str) -> None:
    module = importlib.import_module(name)
    stray = exposed(module) - set(getattr(module, "__all__", ()))
    assert not stray, f"{name} exposes {sorted(stray)}: name them in __all__, or give them an underscore"


def exposed(module: types.ModuleType) -> set[str]:
    """The public-looking names of a package, without its subpackages and ``from __future__``."""
    return {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and not isinstance(value, types.ModuleType) and key != "annotations"
    }


@pytest.mark.parametrize("name", packages())
def test_a_package_says_what_it_is(name: str) -> None:
    module = importlib.import_module(name)
    assert not exposed(module) or (module.__doc__ or "").strip(), f"{name} has no docstring"


def test_modules_are_private() -> None:
    public = [
        str(path.relative_to(PACKAGE))
        for path in sorted(PACKAGE.rglob("*.py"))
        if not path.name.startswith("_") and path.relative_to(PACKAGE).parts[0] != ALEMBIC_FILES
    ]
    assert set(public) == PUBLIC_MODULES, "a module is private (`_x.py`), its names are given by its package"


def test_public_errors_are_all_in_the_drawn_tree() -> None:
    """The picture at the head of errors.py is the map for readers: each class is there, under its base."""
    errors = importlib.import_module("sessionlift.errors")
    classes = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.SessionliftError)
    }
    drawn: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"([\s│├└─]*)(\w+Error)\b", line):
            depth = len(match[1])
            above = [(d, n) for d, n in above if d < depth]
            drawn[match[2]] = above[-1][1] if above else None
            above.append((depth, match[2]))
    assert set(drawn) == set(classes)
    for name, base in drawn.items():
        assert base is None or issubclass(classes[name], classes[base]), f"{name} is not drawn under its base"


def test_every_error_has_a_code_of_its_own() -> None:
    errors = importlib.import_module("sessionlift.errors")
    codes = [
        vars(value).get("code")
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.SessionliftError)
    ]
    assert all(codes), "a class without a code would pass for its base"
    assert len(codes) == len(set(codes))
