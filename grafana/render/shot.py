"""Draws the board with Grafana's own panel components over a real Prometheus, and takes its picture.

    python grafana/render/shot.py                        record some minutes, then docs/images/board.png
    python grafana/render/shot.py --data FOLDER          keep the recording there, or use one that is there
    python grafana/render/shot.py --theme light --picture board.png

Needs joulegate and its runtime packages, Prometheus, Node with npm, and Chromium
(``apt-get install -y --no-install-recommends prometheus nodejs npm chromium fonts-dejavu-core``). The npm
packages, about 400 MB, go to ``~/.cache/joulegate/render``.
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlencode

from record import free_ports, process, prometheus, ready

HERE = Path(__file__).parent
CACHE = Path.home() / ".cache" / "joulegate" / "render"
BOARD = HERE.parent / "dashboards" / "energy-at-a-glance.json"
PICTURE = HERE.parent.parent / "docs" / "images" / "board.png"
NICE = ("nice", "-n", "10")


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="board-") as temporary:
        folder = (arguments.data or Path(temporary)).resolve()
        if not (folder / "window.json").exists():
            print(f"recording {arguments.seconds:.0f} s of traffic")
            run([sys.executable, HERE / "record.py", folder, str(arguments.seconds)])
        build()
        arguments.picture.parent.mkdir(parents=True, exist_ok=True)
        asyncio.run(shoot(folder, arguments.picture.resolve(), arguments.theme))
    print(f"{arguments.picture}: {arguments.picture.stat().st_size / 1000:.0f} kB")


def build() -> None:
    """Build the page in the cache: its packages are installed there once for each list of them."""
    shutil.copytree(HERE / "page", CACHE, dirs_exist_ok=True)
    shutil.copy(BOARD, CACHE / "board.json")
    wanted, installed = (CACHE / "package.json").read_bytes(), CACHE / "installed.json"
    if not installed.exists() or installed.read_bytes() != wanted:
        print("installing Grafana's components")
        quiet = ["--no-audit", "--no-fund", "--silent"]
        run(["npm", "install", "--legacy-peer-deps", "--no-package-lock", *quiet])
        installed.write_bytes(wanted)
    run(["npx", "--no-install", "vite", "build"])


async def shoot(folder: Path, picture: Path, theme: str) -> None:
    """Serve the page and the recording, and let Chromium draw."""
    prometheus_port, page_port = free_ports(2)
    source = f"http://127.0.0.1:{prometheus_port}"
    page = f"http://127.0.0.1:{page_port}"
    window = json.loads((folder / "window.json").read_text())
    vite = CACHE / "node_modules" / "vite" / "bin" / "vite.js"
    serve = ["env", f"PROMETHEUS={source}", "node", vite, "preview", CACHE, "--port", str(page_port)]
    with prometheus(folder, prometheus_port, "global: {}\n"), process(serve):
        await ready(f"{source}/-/ready")
        await ready(page)
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or "chromium"
        address = f"{page}/?{urlencode(window | {'theme': theme})}"
        run(["env", f"CHROMIUM={chromium}", "node", "shoot.mjs", address, picture])


def run(command: list[str | Path]) -> None:
    """Run a command in the cache; its failure ends everything."""
    CACHE.mkdir(parents=True, exist_ok=True)
    status = subprocess.run([*NICE, *command], cwd=CACHE, check=False).returncode  # noqa: S603
    if status:
        sys.exit(f"{Path(command[0]).name} failed with status {status}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the recording")
    parser.add_argument("--seconds", type=float, default=200, help="time of the traffic")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    return parser.parse_args()


if __name__ == "__main__":
    main()
