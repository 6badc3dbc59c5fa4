"""The measurement of networks that faeval did not build: `measure`, and `watch` in a loop."""

from faeval.probe.guard import undisturbed
from faeval.probe.measured import Measured
from faeval.probe.measuring import measure
from faeval.probe.watching import Watch, every, logarithmic, watch

__all__ = ["Measured", "Watch", "every", "logarithmic", "measure", "undisturbed", "watch"]
