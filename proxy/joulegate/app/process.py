"""What a supervisor starts: ``python -m joulegate.app.process gate|meter DIRECTORY json|text LEVEL``.

The configuration in the run directory has been checked, so that neither the command line nor the reading of
TOML is loaded here.
"""

import sys
from pathlib import Path

import msgspec

from joulegate import app, log
from joulegate.config.structs import Config
from joulegate.errors import JoulegateError, exit_code, message_lines
from joulegate.rundir import CONFIG, SOCKET


def main(kind: str, folder: str, form: str, level: str) -> int:
    """Run one process until told to stop; return the exit code."""
    log.configure(json=form == "json", level="warning" if level == "warning" else "info")
    path = Path(folder)
    try:
        config = msgspec.msgpack.decode((path / CONFIG).read_bytes(), type=Config)
        run = app.run_meter if kind == "meter" else app.run_gate
        return run(config, socket=path / SOCKET)
    except JoulegateError as error:
        sys.stderr.write(message_lines(error))
        return exit_code(error)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
