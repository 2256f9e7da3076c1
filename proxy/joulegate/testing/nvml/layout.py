"""The shared file of the fake library, as ``struct control`` in ``fake_nvml.c`` lays it out."""

import ctypes as c

GPUS = 16
CALLS = 24
SEGMENTS = 1024
PIDS = 64


class SegmentFields(c.Structure):
    """Constant power from an instant on, and the energy drawn before it."""

    _fields_ = [("start_ns", c.c_int64), ("energy_nj", c.c_int64), ("power_uw", c.c_int64)]


class GpuFields(c.Structure):
    """One GPU."""

    _fields_ = [
        ("uuid", c.c_char * 96),
        ("name", c.c_char * 96),
        ("error", c.c_uint32 * CALLS),
        ("hang_ns", c.c_int64 * CALLS),
        ("calls", c.c_uint64 * CALLS),
        ("mig", c.c_uint32),
        ("power_limit_mw", c.c_uint32),
        ("clock_mhz", c.c_uint32),
        ("usage_is_average", c.c_uint32),
        ("gain_ppm", c.c_uint32),
        ("pid_count", c.c_uint32),
        ("pids", c.c_uint32 * PIDS),
        ("sm_percent", c.c_uint32 * PIDS),
        ("update_ns", c.c_int64),
        ("phase_ns", c.c_int64),
        ("lag_ns", c.c_int64),
        ("instant_ns", c.c_int64),
        ("average_ns", c.c_int64),
        ("reset_nj", c.c_int64),
        ("segments", c.c_uint64),
        ("segment", SegmentFields * SEGMENTS),
    ]


class ControlFields(c.Structure):
    """The whole file."""

    _fields_ = [
        ("count", c.c_uint32),
        ("order", c.c_uint32 * GPUS),
        ("error", c.c_uint32 * CALLS),
        ("hang_ns", c.c_int64 * CALLS),
        ("calls", c.c_uint64 * CALLS),
        ("driver", c.c_char * 80),
        ("gpu", GpuFields * GPUS),
    ]
