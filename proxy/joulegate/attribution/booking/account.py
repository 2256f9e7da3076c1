"""What was booked on one request, and what its figure needs besides."""

import numpy as np
from msgspec import Struct

from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.maths.arrays import Floats, Seconds
from joulegate.attribution.maths.fit import BLOCKS
from joulegate.model import DeviceId

NO_ENERGY: Floats = np.zeros(BLOCKS)


class Account(Struct, eq=False, gc=False):
    """The energy of one request so far. It is in no cycle."""

    request: RequestInput
    booked: dict[DeviceId, int] = {}
    """Microjoules by device."""
    static: dict[DeviceId, int] | None = {}
    """What the devices drew just for being awake; ``None`` where a part of the energy was not split."""
    methods: dict[str, int] = {}
    """Microjoules booked by each method."""
    wasted: int = 0
    """Microjoules drawn after the client had left."""
    measured: bool = False
    """It lies in time whose energy is known."""
    alternatives: Floats = NO_ENERGY
    """Energy by the fits that leave out a block of the past each, in J."""
    first_estimate: float = 0.0
    """Energy in J of all its windows when each was new."""
    first_alternatives: Floats = NO_ENERGY
    """``first_estimate`` by the fits that leave out a block each."""
    previewed: bool = False
    """A provisional figure was given out."""
    service: Seconds = 0.0
    """Time on the device, as last found."""
    guessed_prompt: bool = False
    """Its prompt tokens were estimated, as last found."""
    hidden_cache: bool = False
    """Its server often caches prompts without saying so."""
    misfit: float = 0.0
    """How far the rule is from the counter in a usual second, as part of the energy; as last found."""

    def charge(
        self,
        device: DeviceId,
        energy: int,
        static: int | None,
        wasted: int,
        method: str,
        others: Floats | None,
    ) -> None:
        """Book energy of a device, in microjoules; ``others`` by the fits that leave out a block, in J."""
        self.booked[device] = self.booked.get(device, 0) + energy
        if static is None:
            self.static = None
        elif self.static is not None:
            self.static[device] = self.static.get(device, 0) + static
        self.methods[method] = self.methods.get(method, 0) + energy
        self.wasted += wasted
        if others is not None:
            self.alternatives = self.alternatives + others

    def expect(self, energy: float, others: Floats | None) -> None:
        """Add what a new window is thought to hold of the request, in J."""
        self.first_estimate += energy
        if others is not None:
            self.first_alternatives = self.first_alternatives + others

    def describe(self, *, service: Seconds, guessed_prompt: bool, hidden_cache: bool, misfit: float) -> None:
        """Record what was found of the request at the last look: its error bar depends on it."""
        self.service, self.guessed_prompt = service, guessed_prompt
        self.hidden_cache, self.misfit = hidden_cache, misfit

    def measure(self) -> None:
        """Record that the request lies in time whose energy is known."""
        self.measured = True

    def preview(self) -> None:
        """Record that a provisional figure was given out."""
        self.previewed = True
