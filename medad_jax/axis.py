"""The axis that a batch is split along."""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class Axis:
  """The axis that the batch is split along, for acting on the global batch.

  `Axis()` is the whole batch on one device. `groups` are the device groups
  that share one batch, for mappings whose only axis numbers all devices.
  """

  name: str | None = None
  size: int = 1
  groups: tuple[tuple[int, ...], ...] | None = None

  def mean(self, tree: Any) -> Any:
    """Mean over the devices that hold the other parts of the batch."""
    return self._by(jax.lax.pmean, tree)

  def gather(self, tree: Any) -> Any:
    """Arrays of the whole batch from those of its parts, in their order."""
    return self._by(jax.lax.all_gather, tree, tiled=True)

  def min(self, tree: Any) -> Any:
    """Minimum over the devices that hold the other parts of the batch."""
    return self._by(jax.lax.pmin, tree)

  def _by(self, together: Callable[..., Any], tree: Any, **options: Any) -> Any:
    if self.name is None or self.size == 1:
      return tree
    return together(tree, self.name, axis_index_groups=self.groups, **options)
