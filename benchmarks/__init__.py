"""Measurements of this package beside the usual ways of doing the same work."""
