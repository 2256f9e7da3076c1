"""How far a request and a streamed chunk walk through the gate's own code.

    python bench/route.py [--steps]

One warm ``POST`` with a whole answer, and one chunk of a stream, through the pipes of ``bench/gate.py``: the
real dispatcher, observer and event channel, no sockets. A call is a Python function of joulegate's that is
entered; a change of module is a call into another module than that of the call before; an object is one made
by calling a class of joulegate's, apart from what the events hold (``joulegate.model`` and the channel's).
``--steps`` lists the calls in their order.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import gate
import load
import msgspec
import scripted_upstream
import uvloop

import joulegate

SOURCE = str(Path(joulegate.__file__).parent)
WARM = 3
"""Requests or chunks before the one that is walked."""
OF_EVENTS = ("joulegate.model", "joulegate.channel")
"""Where the classes of events are: they tell of a request, they do not carry it."""


@dataclass
class Route:
    """What one walk passed."""

    calls: list[tuple[str, str]]
    """Module and function of each call."""
    objects: list[str]
    """Name of the class of each object."""

    @property
    def modules(self) -> int:
        """How many modules were entered."""
        return len({module for module, _ in self.calls})

    @property
    def changes(self) -> int:
        """How often a call went to another module than the call before."""
        modules = [module for module, _ in self.calls]
        return sum(one != other for one, other in pairwise(modules))

    def line(self, name: str) -> str:
        """Return the figures as people read them."""
        made = Counter(self.objects)
        listed = ", ".join(f"{one} x{count}" if count > 1 else one for one, count in made.items())
        figures = f"{len(self.calls)} calls, {self.modules} modules, {self.changes} changes of module"
        return f"{name}: {figures}, {len(self.objects)} objects" + (f" ({listed})" if listed else "")


def walk(run: Callable[[], object]) -> Route:
    """Run and return what it passed."""
    calls: list[tuple[str, str]] = []
    objects: list[str] = []

    def profile(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call":
            return
        if code.co_filename.startswith(SOURCE):
            calls.append((frame.f_globals["__name__"], code.co_qualname))
        made = _made(frame)
        if made is not None and _counts(made):
            objects.append(made.__name__)

    with _telling_structs(objects):
        sys.setprofile(profile)
        try:
            run()
        finally:
            sys.setprofile(None)
    return Route(calls, objects)


def _made(frame: FrameType) -> type | None:
    """Return the class of the object that this call makes, if it makes one."""
    code = frame.f_code
    if code.co_name == "__init__":
        made = type(frame.f_locals[code.co_varnames[0]])
        # A base class initialises the same object.
        return made if made.__init__.__code__ is code else None
    if code.co_name == "__new__" or code.co_varnames[:1] == ("_cls",):  # The latter of a named tuple.
        made = frame.f_locals[code.co_varnames[0]]
        return made if isinstance(made, type) else None
    return None


def _counts(made: type) -> bool:
    return made.__module__.startswith("joulegate.") and not made.__module__.startswith(OF_EVENTS)


@contextmanager
def _telling_structs(objects: list[str]) -> Iterator[None]:
    """Have structs tell that they are made, which no profiler sees: each name stands for a subclass."""
    kept: list[tuple[dict[str, Any], str, type]] = []
    telling: dict[type, type] = {}
    modules = [module for name, module in sys.modules.items() if name.startswith("joulegate")]
    for module in modules:
        for name, value in list(vars(module).items()):
            if isinstance(value, type) and issubclass(value, msgspec.Struct) and _counts(value):
                if value not in telling:
                    telling[value] = _telling(value, objects)
                kept.append((vars(module), name, value))
                vars(module)[name] = telling[value]
    try:
        yield
    finally:
        for names, name, value in kept:
            names[name] = value


def _telling(struct: type, objects: list[str]) -> type:
    def told(_: object) -> None:
        objects.append(struct.__name__)

    names = {"__post_init__": told, "__module__": struct.__module__}
    return type(struct)(struct.__name__, (struct,), names)


def unary() -> Route:
    """Walk with a request whose head, and that of its answer, came before."""
    client, upstream = gate.Bench(gate.Sending()).pair()
    ask = load.request()

    def run() -> None:
        client.data_received(ask)
        upstream.data_received(scripted_upstream.WHOLE)

    for _ in range(WARM):
        run()
    return walk(run)


def chunks(count: int) -> Route:
    """Walk with so many chunks in the middle of a stream."""
    client, upstream = gate.Bench(gate.Sending()).pair()
    chunk = scripted_upstream.chunked(gate.EVENT % 1)
    client.data_received(load.request(tokens=gate.CHUNKS))
    upstream.data_received(scripted_upstream.STREAM)
    for _ in range(WARM):
        upstream.data_received(chunk)

    def run() -> None:
        for _ in range(count):
            upstream.data_received(chunk)

    return walk(run)


async def main(*, steps: bool) -> None:
    """Print the figures."""
    for name, route in (
        ("warm unary request", unary()), ("one chunk", chunks(1)), ("a hundred chunks", chunks(100)),
    ):  # fmt: skip
        print(route.line(name))
        if steps and len(route.calls) < 1000:
            print("".join(f"    {module}  {function}\n" for module, function in route.calls))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", action="store_true")
    uvloop.run(main(steps=parser.parse_args().steps))
