"""What is told of a run's way: a line that is rewritten on a terminal, plain lines in a pipe, nothing when quiet."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from sessionlift.runs import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("sessionlift.runs._progress.time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def told(progress: Progress, stream: io.StringIO, clock: Clock, after: float, done: int, rows: int) -> str:
    """What is written when so much of 1,000 sessions is done so many seconds after the beginning."""
    clock.now, before = 1000.0 + after, len(stream.getvalue())
    progress.count("moved", done, 1000, rows)
    return stream.getvalue()[before:]


def test_a_terminal_gets_one_line_with_the_rate_and_the_time_left(clock: Clock) -> None:
    stream = Terminal()
    progress = Progress(stream=stream)
    assert told(progress, stream, clock, 0.1, 1, 20) == "", "no more than five times a second"
    assert told(progress, stream, clock, 10, 250, 5000) == (
        "\r\x1b[Kmoved 250 of 1,000 sessions, 5,000 rows, 500 rows/s, about 30 s left"
    )
    assert told(progress, stream, clock, 10.1, 251, 5020) == ""
    assert told(progress, stream, clock, 16, 800, 32000) == (
        "\r\x1b[Kmoved 800 of 1,000 sessions, 32,000 rows, 2,000 rows/s, about 4 s left"
    )
    assert told(progress, stream, clock, 16.1, 1000, 32200) == (
        "\r\x1b[Kmoved 1,000 of 1,000 sessions, 32,200 rows, 2,000 rows/s"
    ), "the end is told at once, and that nothing is left goes without saying"
    for _ in range(2):
        progress.done()
    assert stream.getvalue().endswith("rows/s\n")


def test_a_step_on_a_terminal_leaves_the_line_before_it_as_it_is(clock: Clock) -> None:
    stream = Terminal()
    progress = Progress(stream=stream)
    progress.step("Moving")
    told(progress, stream, clock, 1, 500, 0)
    progress.step("Verifying")
    assert stream.getvalue() == "Moving\n\r\x1b[Kmoved 500 of 1,000 sessions, about 1 s left\nVerifying\n"


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "pipe"])
def test_nothing_is_said_of_the_time_left_until_something_is_done(stream: io.StringIO, clock: Clock) -> None:
    said = told(Progress(stream=stream), stream, clock, 6, 0, 0)
    assert said.removeprefix("\r\x1b[K").removesuffix("\n") == "moved 0 of 1,000 sessions"


def test_a_pipe_gets_plain_lines_every_five_seconds(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream)
    for after, done in ((1, 20), (4.9, 98), (6, 200), (10.9, 400), (12, 600), (13, 1000)):
        told(progress, stream, clock, after, done, 10 * done)
    progress.done()
    assert stream.getvalue().splitlines() == [
        "moved 200 of 1,000 sessions, 2,000 rows, 333 rows/s, about 24 s left",
        "moved 600 of 1,000 sessions, 6,000 rows, 500 rows/s, about 8 s left",
        "moved 1,000 of 1,000 sessions, 10,000 rows, 769 rows/s",
    ]


def test_a_pipe_is_spared_the_end_of_a_short_run(clock: Clock) -> None:
    stream = io.StringIO()
    assert told(Progress(stream=stream), stream, clock, 4, 1000, 9) == ""


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "pipe"])
def test_nothing_is_told_when_quiet(stream: io.StringIO, clock: Clock) -> None:
    progress = Progress(quiet=True, stream=stream)
    progress.step("Moving")
    for after, done in ((6, 100), (60, 1000)):
        told(progress, stream, clock, after, done, 10)
    progress.done()
    assert stream.getvalue() == ""
