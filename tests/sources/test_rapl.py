"""The RAPL source on a made-up powercap tree."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.errors import SourceInvalid, SourceUnavailable
from joulegate.model import Component, DeviceId, Tier
from joulegate.sources.rapl import Options, Plugin, open_readonly
from joulegate.units import Nanoseconds

PACKAGE = DeviceId("rapl:package-0")
SPAN = 262_143_328_850
SECOND = 1_000_000_000


class Tree:
    """A powercap tree in a folder, and a clock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = Nanoseconds(0)

    def zone(self, path: str, name: str, energy: int = 0, span: int = SPAN) -> None:
        folder = self.root / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text(f"{span}\n")
        self.set(path, energy)

    def set(self, path: str, energy: int | str) -> None:
        (self.root / path / "energy_uj").write_text(f"{energy}\n")

    def clock(self) -> Nanoseconds:
        return self.now

    def wait(self, time: int = SECOND) -> None:
        self.now = Nanoseconds(self.now + time)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture
def source(tree: Tree) -> Iterator[Plugin]:
    source = Plugin(Options(root=str(tree.root)), clock=tree.clock)
    yield source
    source.close()


def test_packages_and_memory_are_devices_and_nested_zones_are_not(tree: Tree, source: Plugin) -> None:
    """Core, uncore, psys and the second view by MMIO lie inside or around packages: never counted."""
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:0/intel-rapl:0:0", "core")
    tree.zone("intel-rapl:0/intel-rapl:0:1", "uncore")
    tree.zone("intel-rapl:0/intel-rapl:0:2", "dram", span=65_712_999_613)
    tree.zone("intel-rapl:1", "psys")
    tree.zone("intel-rapl-mmio:0", "package-0")
    devices = source.open()
    assert [(device.id, device.component) for device in devices] == [
        (PACKAGE, Component.CPU),
        ("rapl:dram-package-0", Component.DRAM),
    ]
    assert {device.tier for device in devices} == {Tier.COUNTER}


def test_the_flat_view_of_nested_zones_adds_nothing(tree: Tree, source: Plugin) -> None:
    """The class folder of the kernel links subzones beside their packages too: each is one device."""
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:0/intel-rapl:0:0", "dram")
    (tree.root / "intel-rapl:0:0").symlink_to(tree.root / "intel-rapl:0/intel-rapl:0:0")
    assert [device.id for device in source.open()] == [PACKAGE, "rapl:dram-package-0"]


def test_two_sockets_and_dies_go_by_name_not_by_zone(tree: Tree, source: Plugin) -> None:
    """Zone numbers need not be package numbers; dies have names of their own."""
    tree.zone("intel-rapl:0", "package-1")
    tree.zone("intel-rapl:1", "package-0-die-1")
    tree.zone("intel-rapl:2", "package-0-die-0")
    tree.zone("intel-rapl:10", "package-2")
    ids = [device.id for device in source.open()]
    assert ids == ["rapl:package-1", "rapl:package-0-die-1", "rapl:package-0-die-0", "rapl:package-2"]


def test_a_wrap_is_taken_out(tree: Tree, source: Plugin) -> None:
    """A counter that goes over its range goes on growing."""
    tree.zone("intel-rapl:0", "package-0", SPAN - 10_000_000)
    source.open()
    assert source.read(PACKAGE).counter == 0
    tree.wait()
    tree.set("intel-rapl:0", 5_000_000)
    assert source.read(PACKAGE).counter == 15_000_000
    tree.wait()
    tree.set("intel-rapl:0", 6_000_000)
    assert source.read(PACKAGE).counter == 16_000_000


def test_a_restarted_counter_is_no_wrap(tree: Tree, source: Plugin) -> None:
    """A step back that would mean more than a kilowatt is a restart: the account starts again at 0."""
    tree.zone("intel-rapl:0", "package-0", 1_000_000_000)
    source.open()
    source.read(PACKAGE)
    tree.wait()
    tree.set("intel-rapl:0", 1_100_000_000)
    assert source.read(PACKAGE).counter == 100_000_000
    tree.wait()
    tree.set("intel-rapl:0", 3)
    assert source.read(PACKAGE).counter == 0


def test_a_gap_in_which_it_may_have_wrapped_twice_is_not_guessed(tree: Tree, source: Plugin) -> None:
    """After a long silence the counter may have gone round more than once: the account starts again."""
    tree.zone("intel-rapl:0", "package-0", 0)
    source.open()
    source.read(PACKAGE)
    tree.wait()
    tree.set("intel-rapl:0", 100_000_000)
    assert source.read(PACKAGE).counter == 100_000_000
    tree.wait(300 * SECOND)
    tree.set("intel-rapl:0", 200_000_000)
    assert source.read(PACKAGE).counter == 0


@given(st.lists(st.tuples(st.integers(1, 10 * SECOND), st.integers(0, 900)), min_size=1, max_size=60))
def test_any_course_is_unwrapped_exactly(
    tmp_path_factory: pytest.TempPathFactory, course: list[tuple[int, int]]
) -> None:
    """Whatever a package draws below a kilowatt, the sum of all steps is exact over any number of wraps."""
    tree = Tree(tmp_path_factory.mktemp("rapl"))
    span = 20_000_000_000  # wraps after 20 s at the most
    tree.zone("intel-rapl:0", "package-0", 0, span)
    source = Plugin(Options(root=str(tree.root)), clock=tree.clock)
    source.open()
    source.read(PACKAGE)
    drawn = 0
    for time, watts in course:
        tree.wait(time)
        drawn += watts * time // 1000
        tree.set("intel-rapl:0", drawn % span)
        assert source.read(PACKAGE).counter == drawn
    source.close()


def test_no_tree_names_the_remedy(source: Plugin) -> None:
    """A virtual machine without RAPL is told so."""
    with pytest.raises(SourceUnavailable, match="virtual machine or container"):
        source.open()


def test_permission_denied_names_the_remedy(tree: Tree) -> None:
    """Since Linux 5.10 only root may read the counter: the message says what to do."""

    def refuse(path: Path) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    tree.zone("intel-rapl:0", "package-0")
    source = Plugin(Options(root=str(tree.root)), clock=tree.clock, open_file=refuse)
    with pytest.raises(SourceUnavailable, match=r"chmod a\+r") as failure:
        source.open()
    assert failure.value.code == "EACCES"


def test_a_counter_that_vanishes_and_returns(tree: Tree, source: Plugin) -> None:
    """A file that cannot be read is a failure with its code; once it can be read it is opened again."""
    tree.zone("intel-rapl:0", "package-0", 5)
    path = tree.root / "intel-rapl:0" / "energy_uj"
    source.open()
    source.read(PACKAGE)
    source._zones[PACKAGE].close()
    path.unlink()
    path.mkdir()
    with pytest.raises(SourceUnavailable) as failure:
        source.read(PACKAGE)
    assert failure.value.code == "EISDIR"
    path.rmdir()
    tree.set("intel-rapl:0", 9)
    assert source.read(PACKAGE).counter == 4


def test_the_file_is_opened_once(tree: Tree) -> None:
    """Readings use the open file: opening costs more than reading."""
    opened: list[Path] = []

    def note(path: Path) -> int:
        opened.append(path)
        return open_readonly(path)

    tree.zone("intel-rapl:0", "package-0")
    source = Plugin(Options(root=str(tree.root)), clock=tree.clock, open_file=note)
    source.open()
    for _ in range(3):
        source.read(PACKAGE)
    source.close()
    assert len(opened) == 1


@pytest.mark.parametrize("garbage", ["", "abc", "12.5", "\x00"])
def test_garbage_is_dropped(tree: Tree, source: Plugin, garbage: str) -> None:
    """A counter that is no number is an invalid reading, not a crash."""
    tree.zone("intel-rapl:0", "package-0")
    source.open()
    tree.set("intel-rapl:0", garbage)
    with pytest.raises(SourceInvalid, match="no number"):
        source.read(PACKAGE)


@pytest.mark.parametrize("span", ["0", "many"])
def test_a_senseless_range_is_refused(tree: Tree, source: Plugin, span: str) -> None:
    """Without a range wraps cannot be told: the zone is not used."""
    tree.zone("intel-rapl:0", "package-0")
    (tree.root / "intel-rapl:0" / "max_energy_range_uj").write_text(span)
    with pytest.raises(SourceUnavailable, match="max_energy_range_uj"):
        source.open()


def test_close_lets_go_of_the_files(tree: Tree) -> None:
    """After close no file is open any more."""
    files: list[int] = []

    def note(path: Path) -> int:
        files.append(open_readonly(path))
        return files[-1]

    tree.zone("intel-rapl:0", "package-0")
    source = Plugin(Options(root=str(tree.root)), clock=tree.clock, open_file=note)
    source.open()
    source.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(files[0])
    with pytest.raises(SourceUnavailable):
        source.read(PACKAGE)
