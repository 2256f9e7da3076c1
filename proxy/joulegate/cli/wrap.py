"""``joulegate wrap -- CMD``: a server moves to another port and joulegate takes its place."""

from typing import Any

import click
from msgspec.structs import replace

from joulegate.cli.options import Settings, serving
from joulegate.cli.root import INTERRUPTED
from joulegate.cli.run import banner
from joulegate.cli.substitution import PORT_NAMES, Plan, plan
from joulegate.cli.wrapped_server import StopWatcher, WrappedServer, free_port, pass_on
from joulegate.config.environment import changed, variable
from joulegate.config.structs import Config
from joulegate.errors import FAILED, ConfigError

_PATIENCE = 30.0
"""Seconds that the server has to end after SIGTERM."""


@click.command("wrap", context_settings={"allow_interspersed_args": False})
@serving
@click.option(
    "--port-arg",
    "port_names",
    multiple=True,
    metavar="NAME",
    help="Its argument for the port, if not --port.",
)
@click.option("--name", default="default", show_default=True, help="Name of the server in metrics.")
@click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def command(
    ctx: click.Context, /, cmd: tuple[str, ...], name: str, port_names: tuple[str, ...], **options: Any
) -> None:
    """Start an inference server behind joulegate, on its own port.

    The port in CMD (--port N, --port=N, -p N, {port} or the variable PORT) becomes joulegate's; the server
    gets a free one on 127.0.0.1. Signals reach the server, and its exit code is joulegate's.

    \b
    joulegate wrap -- llama-server -m model.gguf --port 8000
    joulegate wrap --listen 127.0.0.1:11434 -- env OLLAMA_HOST=127.0.0.1:{port} ollama serve
    """
    settings = Settings(**options)
    free = free_port()
    found = plan(cmd, free, port_names=port_names or PORT_NAMES, port_variable=variable("PORT"))
    settings = replace(settings, listen=settings.listen or _listen(found))
    config = settings.resolved((f"{name}=http://127.0.0.1:{free}",)).config
    ctx.exit(_serve_behind(found, free, config, settings))


def _listen(found: Plan) -> str:
    if found.port is None:
        raise ConfigError("CMD only says {port}: give the port that clients use with --listen HOST:PORT")
    host = found.host or "127.0.0.1"
    return f"[{host}]:{found.port}" if ":" in host else f"{host}:{found.port}"


def _serve_behind(found: Plan, port: int, config: Config, settings: Settings) -> int:
    from joulegate.app import run_beside  # late: a wrong option is told before anything heavy is imported

    ending = StopWatcher()
    child = WrappedServer(found.command, changed(found.environment))
    try:
        pass_on(child)
        if not child.accepts(port, ending.asked, _waiting):
            return _early(child)
        ending.watch(child)
        settings.start_log()
        code = run_beside(config, logging=settings.logging(), banner=banner(settings))
        gone = child.ended()
        return gone if gone is not None else code
    finally:
        ending.over()
        child.end(_PATIENCE)


def _early(child: WrappedServer) -> int:
    code = child.ended()
    if code is None:
        return INTERRUPTED
    click.echo(f"joulegate: the server ended with code {code} before it accepted connections", err=True)
    return code or FAILED


def _waiting(seconds: float) -> None:
    click.echo(f"joulegate: waiting for the server to accept connections ({seconds:.0f} s)", err=True)
