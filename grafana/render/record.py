"""Records some minutes of ``joulegate run`` with a real Prometheus: ``python record.py FOLDER SECONDS``.

Leaves Prometheus' data in ``FOLDER/data`` and the time window in ``FOLDER/window.json``.
"""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from aiohttp import web
from scene import Clients, Gpus, Servers

QUIET_SECONDS = 20
"""Before the first request, so that the idle power is known."""
SERIES_SECONDS = 55
"""After the first request, until every task has a final figure."""
LAST_SECONDS = 35
"""After the last request, until its figure is final."""

JOULEGATE = """
[listen]
address = "127.0.0.1:{gate}"
admin = "127.0.0.1:{admin}"
[[upstream]]
name = "text"
url = "http://127.0.0.1:{server}"
gpus = [0]
[[upstream]]
name = "summaries"
url = "http://127.0.0.1:{server}"
path = "/summaries"
strip_path = true
task = "summarization"
gpus = [0]
[[upstream]]
name = "images"
url = "http://127.0.0.1:{server}"
path = "/images"
strip_path = true
kind = "image"
gpus = [1]
[energy]
source = "fake"
[energy.options.fake]
gpus = 2
control = "{folder}/watts.json"
[carbon]
zone = "FRA"
[ledger]
path = "{folder}/ledger.db"
[[budget]]
name = "everything"
limit = "65 Wh"
period = "day"
[[budget]]
name = "images"
limit = "26 Wh"
period = "day"
match = {{ upstream = "images" }}
[[budget]]
name = "emissions"
limit = "5 g"
period = "day"
"""

PROMETHEUS = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: joulegate
    static_configs: [{{targets: ["127.0.0.1:{admin}"]}}]
"""


def main() -> None:
    folder, seconds = Path(sys.argv[1]).resolve(), float(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    began = datetime.now(tz=UTC)
    asyncio.run(recorded(folder, seconds))
    # A rate sees a series from its second sample on: the picture begins when there are all.
    begins = began + timedelta(seconds=QUIET_SECONDS + SERIES_SECONDS)
    window = {"from": begins.timestamp(), "to": datetime.now(tz=UTC).timestamp()}
    (folder / "window.json").write_text(json.dumps(window))


async def recorded(folder: Path, seconds: float) -> None:
    ports = dict(zip(("gate", "admin", "server", "prometheus"), free_ports(4), strict=True))
    (folder / "joulegate.toml").write_text(JOULEGATE.format(folder=folder, **ports))
    gpus = Gpus(folder / "watts.json")
    runner = web.AppRunner(Servers(gpus).app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", ports["server"]).start()
    driving = asyncio.get_running_loop().create_task(gpus.drive())
    await asyncio.sleep(0)
    with ExitStack() as running:
        command = [sys.executable, "-m", "joulegate", "run", "--config", folder / "joulegate.toml"]
        running.enter_context(process(command))
        await ready(f"http://127.0.0.1:{ports['admin']}/readyz")
        running.enter_context(prometheus(folder, ports["prometheus"], PROMETHEUS.format(**ports)))
        async with aiohttp.ClientSession() as session:
            clients = Clients(session, f"http://127.0.0.1:{ports['gate']}")
            await clients.run(seconds, QUIET_SECONDS)
            print("the traffic has ended; its last figures become final")
        await asyncio.sleep(LAST_SECONDS)
    driving.cancel()
    await runner.cleanup()


@contextmanager
def prometheus(folder: Path, port: int, config: str) -> Iterator[None]:
    """Run Prometheus on what is in ``FOLDER/data``."""
    program = shutil.which("prometheus")
    if program is None:
        sys.exit("prometheus is not installed: apt-get install -y --no-install-recommends prometheus")
    (folder / "prometheus.yml").write_text(config)
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with process(command):
        yield


@contextmanager
def process(command: list[str | Path]) -> Iterator[None]:
    """Run a command until the block ends."""
    with subprocess.Popen(command) as child:  # noqa: S603 (our own commands)
        try:
            yield
        finally:
            child.terminate()


async def ready(url: str) -> None:
    """Wait until an address answers 200."""
    for _ in range(300):
        try:
            await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=2).close())  # noqa: S310 (loopback)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            return
    sys.exit(f"{url} does not answer")


def free_ports(number: int) -> list[int]:
    """Return ports of loopback that are free now."""
    with ExitStack() as open_ones:
        ones = [open_ones.enter_context(socket.socket()) for _ in range(number)]
        for one in ones:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in ones]


if __name__ == "__main__":
    main()
