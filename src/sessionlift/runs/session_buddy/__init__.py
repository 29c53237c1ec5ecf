"""What only Session-Buddy's stores need: their oddities, whether they work, and the guide's optional steps."""

from sessionlift.runs.session_buddy._oddities import oddities, sessions
from sessionlift.runs.session_buddy._works import Check, works

__all__ = ["Check", "oddities", "sessions", "works"]
