"""The access log: one record per call on the logger `aiclient.access`, when the call is over.

Off until that very logger has a level: `logging.getLogger("aiclient.access").setLevel("INFO")`. A
level of the root logger does not switch it on. Nothing in a record is a text that a caller or a
node wrote, but for the path, which comes without its query.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

from .labels import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..facts import AttemptRecord

__all__ = ["JsonFormatter", "enabled", "log_call"]

logger = logging.getLogger("aiclient.access")


def enabled() -> bool:
    """Whether calls are to be logged."""
    return logging.NOTSET < logger.level <= logging.INFO and not logger.disabled


def log_call(fields: dict[str, Any], attempts: Iterable[AttemptRecord]) -> None:
    """Log one call: what is known of all of it, and then its attempts."""
    tried = [_attempt(record) for record in attempts]
    fields["node"] = tried[-1]["node"] if tried else None
    fields["attempts"] = tried
    logger.info(
        "%s %s %s in %.3f s by %s, attempt %d",
        fields["method"],
        fields["path"],
        fields["error"] or fields["status"],
        fields["duration"],
        fields["node"],
        len(tried),
        extra={"aiclient": fields},
    )


def _attempt(record: AttemptRecord) -> dict[str, Any]:
    outcome = record.outcome
    return {
        "node": record.node,
        "why": record.why,
        "retry_of": reason_of(record.retry_of) if record.retry_of else None,
        "outcome": outcome if outcome == "ok" else reason_of(outcome),
        "status": record.status,
        "started": round(record.started, 6),
        "ttfb": None if record.ttfb is None else round(record.ttfb, 6),
        "duration": round(record.duration, 6),
    }


class JsonFormatter(logging.Formatter):
    """Makes a line of JSON of each record of the loggers `aiclient` and `aiclient.access`.

    Every line has `time` (UTC, RFC 3339), `level` and `logger`. A call's line has the fields of its
    record beside them, an event's line, and any other, its `message`; and `exception`, with the
    traceback, where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without an end of line in it."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
        }
        fields = getattr(record, "aiclient", None)
        if isinstance(fields, dict):
            line.update(fields)
        else:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
