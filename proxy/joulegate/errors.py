"""The errors of joulegate: one class per thing that a caller does differently."""


class JoulegateError(Exception):
    """Base of every error that joulegate raises on purpose."""


class ConfigError(JoulegateError):
    """The user's configuration is wrong: exit 2. The message names the file, the key and the remedy."""


class PluginError(JoulegateError):
    """A plug-in is missing, ambiguous or does not keep its contract: joulegate refuses to start."""


class SourceUnavailable(JoulegateError):
    """An energy source cannot be read now: mark the gap and try again later."""

    def __init__(self, message: str, *, code: str = "unavailable") -> None:
        super().__init__(message)
        self.code = code
        """Short stable word for metrics, for example ``NVMLError_GpuIsLost``."""


class SourceInvalid(JoulegateError):
    """A reading makes no sense: drop it and count it."""


class LedgerUnavailable(JoulegateError):
    """The ledger cannot be read now: answer 503 and try again later. The message says why."""


class TraceError(JoulegateError):
    """A recorded trace is malformed. The message names the file, the line and the field."""


class UpstreamError(JoulegateError):
    """The upstream failed before its answer began: answer 502, 503 or 504 by the one table."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
        """An ``Outcome`` value, for example ``upstream_refused``."""


FAILED, MISUSED = 1, 2
"""Exit codes: it did not work, and what was asked for is wrong; see docs/cli.md."""


def exit_code(error: JoulegateError) -> int:
    """Return the exit code of a process that ends with an error."""
    return MISUSED if isinstance(error, ConfigError | PluginError) else FAILED


def message_lines(error: JoulegateError) -> str:
    """Return an error as a person reads it: whole lines, each with the program's name before it."""
    return "".join(f"joulegate: {line}\n" for line in str(error).splitlines())
