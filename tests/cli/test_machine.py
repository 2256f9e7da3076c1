"""The doctor's look at the machine."""

import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

from joulegate.cli.findings import Finding, Mark
from joulegate.cli.machine import _nvidia_driver, look, smallest_step
from joulegate.config.addresses import address, endpoint
from joulegate.config.structs import Config, LedgerConfig, ListenConfig, UpstreamConfig


def looked(config: Config) -> dict[str, Finding]:
    return {finding.subject: finding for finding in look(config)}


def config(tmp_path: Path, **changes: Any) -> Config:
    values = {
        "listen": ListenConfig(address("127.0.0.1:0"), address("127.0.0.1:0")),
        "ledger": LedgerConfig(str(tmp_path / "new" / "ledger.db")),
    }
    return Config(**{**values, **changes})


def test_a_machine_that_is_fine(tmp_path: Path) -> None:
    """Python, the loop, the clock, ports and ledger are all named."""
    found = looked(config(tmp_path))
    assert {finding.mark for finding in found.values()} <= {Mark.GOOD, Mark.NOTE}
    assert set(found) >= {"python", "event loop", "clock", "NVML binding", "proxy", "metrics", "ledger"}
    assert not list(tmp_path.iterdir()), "the trial leaves nothing behind"


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """Another program on the port is bad, with the option that helps."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        found = looked(config(tmp_path, listen=ListenConfig(address(place), address("127.0.0.1:1"))))["proxy"]
    assert found.mark is Mark.BAD
    assert "--listen" in found.remedy


def test_joulegate_is_there_already(tmp_path: Path, fake_meter: Any) -> None:
    """A running joulegate on the port is no fault."""
    found = looked(
        config(tmp_path, listen=ListenConfig(address("127.0.0.1:0"), address(fake_meter.address)))
    )["metrics"]
    assert found.mark is Mark.NOTE
    assert "joulegate 0.1.0 runs here already" in found.found


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    """An address that is not ours cannot be listened on."""
    found = looked(config(tmp_path, listen=ListenConfig(address("192.0.2.1:80"), address("127.0.0.1:0"))))[
        "proxy"
    ]
    assert found.mark is Mark.BAD
    assert "Cannot assign" in found.found


def test_a_ledger_that_cannot_be_written(tmp_path: Path) -> None:
    """A place where no file can be made is bad; memory only is worth a note."""
    found = looked(config(tmp_path, ledger=LedgerConfig("/proc/ledger.db")))["ledger"]
    assert found.mark is Mark.BAD
    assert "--ledger" in found.remedy
    assert looked(config(tmp_path, ledger=LedgerConfig(":memory:")))["ledger"].mark is Mark.NOTE


def test_upstreams(tmp_path: Path, fake_meter: Any) -> None:
    """A server that is up is good, one that is down worth a note: joulegate waits for it."""
    upstreams = (
        UpstreamConfig("up", (endpoint(f"http://{fake_meter.address}"),)),
        UpstreamConfig("down", (endpoint("http://127.0.0.1:1"),)),
    )
    found = looked(config(tmp_path, upstream=upstreams))
    assert found["upstream up"].mark is Mark.GOOD
    assert found["upstream down"].mark is Mark.NOTE
    assert "Connection refused" in found["upstream down"].found


def test_the_clock_moves() -> None:
    """Its smallest step is seen, in nanoseconds."""
    assert 0 < smallest_step() < 10**9


def test_the_nvidia_driver(tmp_path: Path) -> None:
    """The kernel module's version is read where it is written, and nothing is said where it is not."""
    path = tmp_path / "version"
    path.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat\nGCC version:  12\n")
    (found,) = _nvidia_driver(path)
    assert found.found == "NVIDIA UNIX x86_64 Kernel Module 535.104.05 Sat"
    assert not list(_nvidia_driver(tmp_path / "none"))


class Vllm(BaseHTTPRequestHandler):
    """Lists one model as vLLM does."""

    def do_GET(self) -> None:
        body = b'{"data":[{"id":"qwen","owned_by":"vllm"}],"version":"0.33.0"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_servers_are_asked_what_they_are(tmp_path: Path) -> None:
    """A server is named with its models; one that is not there costs nothing but a note."""
    with HTTPServer(("127.0.0.1", 0), Vllm) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        upstreams = (
            UpstreamConfig("text", (endpoint(url),)),
            UpstreamConfig("gone", (endpoint("http://127.0.0.1:1"),)),
        )
        found = looked(config(tmp_path, upstream=upstreams))
        server.shutdown()
    assert found["upstream text"].found == f"{url}: vLLM 0.33.0; models: qwen"
    assert found["upstream gone"].mark is Mark.NOTE
    assert "refused" in found["upstream gone"].found


def test_a_certificate_that_is_not_accepted(tmp_path: Path) -> None:
    """A server that is there and not believed is bad: waiting does not help, its authority does."""
    authority, file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with Quiet(("127.0.0.1", 0), Vllm) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://127.0.0.1:{server.server_port}"
        upstreams = (
            UpstreamConfig("known", (endpoint(url),), ca_file=str(file)),
            UpstreamConfig("unknown", (endpoint(url),)),
        )
        found = looked(config(tmp_path, upstream=upstreams))
        server.shutdown()
    assert found["upstream known"].mark is Mark.GOOD
    assert found["upstream unknown"].mark is Mark.BAD
    assert "its certificate is not accepted" in found["upstream unknown"].found
    assert "ca_file" in found["upstream unknown"].found


class Quiet(ThreadingHTTPServer):
    """Says nothing of handshakes that fail."""

    def handle_error(self, *_: object) -> None:
        pass
