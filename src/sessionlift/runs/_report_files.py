"""Where reports go, and what every report says of its stores."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from pathlib import Path

from sessionlift.generations import Detection
from sessionlift.reports import StoreInfo
from sessionlift.stores import StoreURL


def new_run_id(kind: str) -> str:
    """A run's id: its kind, its second, and something no other run has. Sorts by time within a kind."""
    moment = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return f"{kind}-{moment}-{uuid.uuid4().hex[:8]}"


def report_path(target: StoreURL, run_id: str, given: Path | None) -> Path:
    """The report's file: where the user said, else beside a local target, else below the working directory."""
    if given is not None:
        return given / f"{run_id}.json" if given.is_dir() else given
    if target.path is not None:
        return target.path.with_name(target.path.name + ".reports") / f"{run_id}.json"
    return Path("sessionlift-reports") / f"{run_id}.json"


def store_size(url: StoreURL) -> int | None:
    """Bytes on disk, the write-ahead log included; None for a server."""
    if url.path is None:
        return None
    return sum(
        file.stat().st_size
        for file in (url.path, Path(f"{url.path}.wal"), Path(f"{url.path}-wal"))
        if file.is_file()
    )


def store_info(url: StoreURL, found: Detection | None = None) -> StoreInfo:
    info = StoreInfo(url=url.redacted, engine=url.engine, size_bytes=store_size(url))
    if found is not None:
        info.system, info.generation, info.dress = found.system, found.generation, found.dress
    return info
