"""The ``sessionlift`` program: its commands, put together."""

from __future__ import annotations

import click

from sessionlift._version import __version__
from sessionlift.cli._common import Group
from sessionlift.cli._demo import demo_store
from sessionlift.cli._detect import detect
from sessionlift.cli._in_place import downgrade, upgrade
from sessionlift.cli._migrate import migrate
from sessionlift.cli._plan import plan
from sessionlift.cli._report import report
from sessionlift.cli._schema import schema
from sessionlift.cli._status import status
from sessionlift.cli._verify import verify


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sessionlift")
def main() -> None:
    """Move the sessions and traces of AI agents into the new store, and prove that nothing was lost.

    Exit codes: 0 all well; 1 something is in quarantine, or a check found a difference; 2 wrong usage;
    3 the source cannot be read or is not what it should be; 4 the target cannot be used; 5 the result could
    not be printed; 130 interrupted.
    """


for _command in (plan, migrate, verify, status, detect, upgrade, downgrade, schema, report, demo_store):
    main.add_command(_command)
