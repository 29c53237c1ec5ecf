"""A session's context in V2, as V2 itself reads it."""

from __future__ import annotations

import json
from typing import Any


def read_context(text: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The object in ``context_data``, and the one in its ``provider_context``, which V2 takes for empty where it is
    null or not there.

    Raises ValueError, in words, for what V2 cannot use; RecursionError where it is nested too deeply.
    """
    try:
        context = json.loads(text)
    except (ValueError, TypeError) as error:
        raise ValueError(f"its context_data is no JSON: {error}") from None
    if not isinstance(context, dict):
        raise ValueError(f"its context_data is no JSON object but a {type(context).__name__}")
    inner = context.get("provider_context")
    if inner is None:
        return context, {}
    if not isinstance(inner, dict):
        raise ValueError(f"the provider_context in its context_data is no JSON object but a {type(inner).__name__}")
    return context, inner
