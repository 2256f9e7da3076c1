"""Sensor behaviour of the power classes of NVIDIA GPUs.

Update and averaging windows: GPU_Power_Benchmark, result matrix (https://github.com/JimZeyuYang/GPU_Power_Benchmark),
the data of arXiv 2312.02741. Where the instantaneous and averaged fields exist: NVIDIA's nvml.h.
"""

from msgspec import Struct

NOT_SUPPORTED = 3


class Profile(Struct, frozen=True):
    """How the sensor of one class of GPU behaves; times in nanoseconds."""

    name: str = "NVIDIA Fake GPU"
    update: int = 0
    """Time between two values of counter and power; 0 is continuous."""
    lag: int = 0
    instant: int = 0
    """Window over which the instantaneous power is averaged; 0 is none."""
    average: int = 1_000_000_000
    """Window of the averaged power."""
    usage_is_average: bool = False
    """``nvmlDeviceGetPowerUsage`` gives the averaged power."""
    has_fields: bool = True
    """The driver knows the power fields; drivers before 530 do not."""
    has_average: bool = True
    has_counter: bool = True
    gain_ppm: int = 1_000_000
    """Gain of the sensor; 950,000 reads 5 % low."""


MS = 1_000_000

PROFILES = {
    "exact": Profile(),
    "hopper": Profile("NVIDIA H100 (fake)", update=100 * MS, instant=25 * MS, usage_is_average=True),
    "ga100": Profile("NVIDIA A100 (fake)", update=100 * MS, instant=25 * MS, has_average=False),
    "ada": Profile(
        "NVIDIA RTX 4090 (fake)", update=100 * MS, instant=100 * MS, usage_is_average=True, gain_ppm=948_000
    ),
    "ampere-old-driver": Profile(
        "NVIDIA RTX 3090 (fake)",
        update=100 * MS,
        instant=100 * MS,
        usage_is_average=True,
        has_fields=False,
        gain_ppm=950_000,
    ),
    "turing": Profile(
        "NVIDIA RTX 2080 Ti (fake)", update=100 * MS, instant=100 * MS, has_average=False, gain_ppm=920_000
    ),
    "volta": Profile("NVIDIA V100 (fake)", update=20 * MS, instant=10 * MS, has_average=False),
    "pascal": Profile(
        "NVIDIA P100 (fake)", update=20 * MS, instant=10 * MS, has_average=False, has_counter=False
    ),
}
"""Power classes by name. ``exact`` has a continuous sensor without error, for tests of the books."""
