"""README and docs name only commands and options that there are, and their Python compiles."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from sessionlift.cli import main

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [p for p in [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))] if p.is_file()]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w+-]*)[^\n]*\n(?P<body>.*?)^(?P=indent)```", re.S | re.M)
OPERATORS = {"|", ">", ">>", "&&", "||", ";", "&", "<", "2>"}


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    body: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    found = []
    for match in FENCE.finditer(text):
        indent = len(match["indent"])
        body = "\n".join(line[indent:] for line in match["body"].splitlines())
        found.append(Block(page, text.count("\n", 0, match.start()) + 1, match["language"], body))
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def commands_in(body: str) -> list[str]:
    """The commands after ``$ ``, with lines that end in a backslash joined."""
    joined = re.sub(r"\s*\\\n\s*", " ", body)
    return [line[2:] for line in joined.splitlines() if line.startswith("$ ")]


def calls_in(command: str) -> list[list[str]]:
    """The argument lists of every ``sessionlift`` call in one shell line, environment and pipes taken off."""
    words = shlex.split(command, comments=True)
    calls: list[list[str]] = []
    current: list[str] = []
    for word in [*words, ";"]:
        if word in OPERATORS:
            while current and re.match(r"\w+=", current[0]):
                current.pop(0)
            if current and Path(current[0]).name == "sessionlift":
                calls.append(current[1:])
            current = []
        else:
            current.append(word)
    return calls


def problem_with(words: list[str]) -> str | None:
    """What is wrong with a call of our program, judged by its own tree of commands; None if nothing is."""
    command: click.Command = main
    path = "sessionlift"
    words = list(words)
    context = click.Context(main, info_name="sessionlift")
    while isinstance(command, click.Group):
        options, words = options_before_name(words)
        if bad := unknown_option(command, context, options):
            return f"{path} has no option {bad}"
        if not words:
            return None if options else f"{path} needs a command"
        found = command.get_command(context, words[0])
        if found is None:
            return f"{path} has no command {words[0]}"
        command, path = found, f"{path} {words[0]}"
        context = click.Context(command, info_name=words[0], parent=context)
        words = words[1:]
    if bad := unknown_option(command, context, words):
        return f"{path} has no option {bad}"
    return None


def options_before_name(words: list[str]) -> tuple[list[str], list[str]]:
    split = next((i for i, word in enumerate(words) if not word.startswith("-")), len(words))
    return words[:split], words[split:]


def unknown_option(command: click.Command, context: click.Context, words: list[str]) -> str | None:
    names = {
        name
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option)
        for name in [*parameter.opts, *parameter.secondary_opts]
    }
    for word in words:
        if word == "--":
            return None
        name = word.partition("=")[0] if word.startswith("--") else word[:2]
        if re.match(r"-{1,2}[A-Za-z]", word) and name not in names:
            return name
    return None


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language in ("console", "sh", "bash", "shell")], ids=lambda b: b.place
)
def test_commands_in_the_docs_exist(block: Block) -> None:
    if block.language != "console":
        assert "sessionlift " not in block.body or not commands_in(block.body), "use a `console` block"
        return
    for command in commands_in(block.body):
        for words in calls_in(command):
            problem = problem_with(words)
            assert problem is None, f"{block.place}: `{command}`: {problem}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_commands_named_in_the_text_exist(page: Path) -> None:
    prose = FENCE.sub("", page.read_text("utf-8"))
    for span in re.findall(r"`(sessionlift [^`]+)`", prose):
        if re.search(r"[\[\]|…]", span):
            continue  # a pattern of several commands, not a call
        problem = problem_with(shlex.split(span)[1:])
        assert problem is None, f"{page.relative_to(REPOSITORY)}: `{span}`: {problem}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_the_files_of_ours_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(r"`((?:tests|src|scripts|benchmarks)/[\w./-]+)`", page.read_text("utf-8"))
    assert [path for path in named if not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in ("python", "py")], ids=lambda b: b.place)
def test_python_in_the_docs_compiles(block: Block) -> None:
    ast.parse(block.body, filename=block.place)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_fences_are_closed_and_links_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    assert len(re.findall(r"^ *```", text, re.M)) == 2 * len(blocks_of(page)), "a code fence is not closed"
    prose = FENCE.sub("", text)
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", prose):
        name, _, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        assert other.exists(), f"{page.relative_to(REPOSITORY)} links to {target}, which is not there"
        if anchor and other.suffix == ".md":
            assert anchor in anchors_of(other), f"{page.relative_to(REPOSITORY)}: no heading for {target}"


def anchors_of(page: Path) -> set[str]:
    """The anchors that a Markdown reader gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def leaf_commands(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        return [(name, command)]
    context = click.Context(command)
    return [
        leaf
        for key in command.list_commands(context)
        if (child := command.get_command(context, key)) is not None and not child.hidden
        for leaf in leaf_commands(child, f"{name} {key}")
    ]


def test_readme_and_help_give_the_exit_codes_the_same_meanings() -> None:
    told = re.search(r"Exit codes: .*", " ".join(str(main.help).split()))
    assert told is not None
    assert "`--on-error stop`" in told[0]
    assert told[0] in " ".join((REPOSITORY / "README.md").read_text("utf-8").split())


@pytest.mark.parametrize(("name", "command"), leaf_commands(main, "sessionlift"))
def test_every_command_and_option_has_help(name: str, command: click.Command) -> None:
    if isinstance(command, click.Group):
        return
    assert command.help, f"{name} has no help"
    bare = [p.opts for p in command.params if isinstance(p, click.Option) and not p.help]
    assert not bare, f"{name}: options without help: {bare}"


@click.group()
@click.option("--loud", is_flag=True)
def toy(loud: bool) -> None:
    """A program to try the checks on."""


@toy.command()
@click.argument("store")
@click.option("--dry-run/--real", help="h")
@click.option("-o", "--on-error", help="h")
def move(store: str, dry_run: bool, on_error: str) -> None:
    """Move."""


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ("move x --dry-run", None),
        ("move x --real --on-error=stop -o stop", None),
        ("--loud move x --help", None),
        ("move x -ostop", None),
        ("move -- --anything", None),
        ("--help", None),
        ("", "sessionlift needs a command"),
        ("shift x", "sessionlift has no command shift"),
        ("move x --dry", "sessionlift move has no option --dry"),
        ("--dry-run move", "sessionlift has no option --dry-run"),
        ("move x -z", "sessionlift move has no option -z"),
    ],
)
def test_the_judge_of_calls_is_fair(call: str, problem: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "main", toy)
    assert problem_with(call.split()) == problem


def test_calls_are_found_in_shell_lines() -> None:
    assert calls_in("TOKEN=x sessionlift detect a.db | head -3 && .venv/bin/sessionlift plan 'a b' # why") == [
        ["detect", "a.db"],
        ["plan", "a b"],
    ]
    assert commands_in("$ sessionlift migrate a \\\n    b --json\nMigration completed\n$ ls") == [
        "sessionlift migrate a b --json",
        "ls",
    ]
