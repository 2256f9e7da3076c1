"""Structured logging: one line a change of state, names listed once here.

Never a prompt, a body, a key, a header value or a client's address.
"""

import logging
import sys
from typing import Literal, cast

import structlog

EVENTS = frozenset(
    {
        "gate.started", "gate.draining", "gate.stopped",
        "meter.started", "meter.draining", "meter.stopped",
        "process.started", "process.died", "process.restarted", "process.killed",
        "channel.connected", "channel.ignored", "channel.lost", "channel.overflowed", "channel.recovered",
        "channel.refused",
        "source.chosen", "source.lost", "source.recovered",
        "request.failed", "observer.failed", "usage.refused",
        "upstream.lost", "upstream.recovered", "upstream.mapped", "upstream.recognised", "upstream.overran",
        "replica.other_model", "server.plugin_failed", "dialect.failed", "plugin.broken",
        "ledger.failed", "ledger.recovered", "ledger.opened",
        "books.unbalanced", "books.resumed", "books.reconciled", "settlement.failed", "processes.failed",
        "recording.failed",
    }
)  # fmt: skip
"""Every event name: ``noun.past_participle``."""


def configure(*, json: bool, level: Literal["debug", "info", "warning", "error"] = "info") -> None:
    """Set up logging to standard error: JSON lines, or text for a terminal."""
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def logger(room: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of a room."""
    return cast(structlog.typing.FilteringBoundLogger, structlog.get_logger(room=room))
