"""A gate's name is its own on every host, and says where the gate runs."""

import socket

from joulegate.channel.identity import LONGEST_HOST, boot, clock_id, gate_name


def test_no_two_gates_share_a_name() -> None:
    """Gates of one host, and of many with the same pids, are told apart."""
    assert len({gate_name() for _ in range(1000)}) == 1000


def test_a_name_is_short_and_says_the_host() -> None:
    """It is read in logs, in labels and on the board."""
    name = gate_name()
    assert name.startswith(socket.gethostname().partition(".")[0][:LONGEST_HOST])
    assert len(name) <= LONGEST_HOST + len("-1234-123456")


def test_the_clock_of_a_process_has_one_identity() -> None:
    """Two processes of one host and boot compare times as they are."""
    assert clock_id() == clock_id() != ""
    assert boot() in clock_id()
