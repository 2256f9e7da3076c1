"""A serving simulator with known truth: engines, GPUs and sensors, in virtual time.

It stands in for what no meter can show: the true energy of each request. Engines batch continuously with
chunked prefill and an energy for each step that is affine in the batch, image servers work first come first
served, sensors step, lag and fail. ``scenarios`` names ready-made worlds, ``write`` puts one into the four
files that ``joulegate replay`` reads. Everything follows from the seed.
"""

from joulegate.testing.simulator.recording import write
from joulegate.testing.simulator.scenarios import OUTSIDE, REGULAR, SCENARIOS, Scenario
from joulegate.testing.simulator.world import World, simulate

__all__ = ["OUTSIDE", "REGULAR", "SCENARIOS", "Scenario", "World", "simulate", "write"]
