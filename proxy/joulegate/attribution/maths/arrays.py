"""The kinds of numbers and arrays that attribution calculates with."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Seconds: TypeAlias = float
"""A time in s after the origin of a settler, or a duration. Constants in s end in ``_S``."""
