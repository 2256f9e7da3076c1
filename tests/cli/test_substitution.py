"""The server's port is found in its command line and exchanged, and nothing else is touched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.cli.substitution import plan
from joulegate.errors import ConfigError

FREE = 45_678


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("vllm serve m --port 8000", "vllm serve m --port 45678"),
        ("vllm serve m --port=8000", "vllm serve m --port=45678"),
        ("server -p 8000 x", "server -p 45678 x"),
        ("server -p8000", "server -p45678"),
        ("llama-server -p hello --port 8000", "llama-server -p hello --port 45678"),
        ("server --port 1 --port 8000", "server --port 45678 --port 45678"),
        (
            "server --port 8000 --port-file 8000 -parallel 8000",
            "server --port 45678 --port-file 8000 -parallel 8000",
        ),
    ],
)
def test_the_port_is_exchanged(command: str, expected: str) -> None:
    """Every usual way to write a port is known; the last one counts, as in most parsers."""
    found = plan(command.split(), FREE)
    assert " ".join(found.command) == expected
    assert (found.port, found.host, dict(found.environment)) == (8000, None, {})


def test_the_host_becomes_loopback() -> None:
    """Nobody from outside reaches the server past joulegate, which takes the host's place too."""
    found = plan(["serve", "--host", "0.0.0.0", "--port", "80"], FREE)
    assert found.command == ("serve", "--host", "127.0.0.1", "--port", "45678")
    assert found.host == "0.0.0.0"
    assert plan(["serve", "--host=::", "--port", "80"], FREE).host == "::"


def test_a_placeholder() -> None:
    """The place for the port can be named anywhere in a word."""
    found = plan(["env", "OLLAMA_HOST=127.0.0.1:{port}", "ollama", "serve"], FREE)
    assert found.command[1] == "OLLAMA_HOST=127.0.0.1:45678"
    assert found.port is None
    assert plan(["serve", "--port={port}"], FREE).command == ("serve", "--port=45678")


def test_an_argument_of_another_name() -> None:
    """A server with a name of its own for the port can be wrapped too."""
    assert plan(["serve", "--http-port", "80"], FREE, port_names=["--http-port"]).command[-1] == "45678"


def test_the_variable_port() -> None:
    """A server that reads PORT gets another one; a port in the command comes first."""
    found = plan(["node", "server.js"], FREE, port_variable="3000")
    assert (found.port, found.environment) == (3000, {"PORT": "45678"})
    assert plan(["serve", "--port", "80"], FREE, port_variable="3000").environment == {}


@pytest.mark.parametrize(
    "command", ["serve", "serve --port", "serve --port http", "serve --port 99999", "serve -p x"]
)
def test_no_port_names_the_remedies(command: str) -> None:
    """What cannot be found can be told."""
    with pytest.raises(ConfigError, match=r"--port N.*--port-arg.*\{port\}.*--listen"):
        plan(command.split(), FREE)


@given(st.lists(st.text("-p=ort8h {}", max_size=8), min_size=1, max_size=6))
def test_the_number_of_words_never_changes(command: list[str]) -> None:
    """Whatever the command, each word stays in its place."""
    assert len(plan([*command, "--port", "80"], FREE).command) == len(command) + 2
