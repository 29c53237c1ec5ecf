"""The fixtures of tests that run whole commands."""

from tests.support.run_fixtures import legacy, legacy_store, sessionlift, target

__all__ = ["legacy", "legacy_store", "sessionlift", "target"]
