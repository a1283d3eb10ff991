"""What a form of a product is."""

from collections.abc import Callable
from typing import NamedTuple


class Form(NamedTuple):
  """One way to compute y from x and a kernel, and both gradients.

  Attributes:
    forward: (x, kernel) -> y, where gradients follow.
    backward: (x, kernel, dy) -> (dx, dkernel).
    value: (x, kernel) -> y, where no gradients follow; None for XLA's own.
  """

  forward: Callable
  backward: Callable
  value: Callable | None = None
