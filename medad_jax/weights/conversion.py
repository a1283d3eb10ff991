"""Conversion between PyTorch's `state_dict` and Flax's variables.

A table names PyTorch's modules of a net; the kind of each module says what its
tensors are called and how their axes lie on both sides.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import fnmatch
from typing import Any, NamedTuple

from flax import traverse_util
import numpy as np

Shapes = Mapping[str, tuple[int, ...]]

# Of batch normalization. PyTorch needs it only for averages without momentum.
_COUNT = "num_batches_tracked"


@dataclasses.dataclass(frozen=True)
class Layout:
  """The order of a tensor's axes.

  Attributes:
    axes: for each axis in Flax, its place in PyTorch's shape. PyTorch's other
      axes have length 1 and are absent in Flax.
    rank: number of PyTorch's axes.
  """

  axes: tuple[int, ...]
  rank: int

  def flax_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Flax's shape of a tensor of this shape in PyTorch."""
    return tuple(shape[axis] for axis in self.axes)

  def torch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
    """PyTorch's shape of an array of this shape in Flax."""
    found = [1] * self.rank
    for axis, side in zip(self.axes, shape, strict=True):
      found[axis] = side
    return tuple(found)

  def to_flax(self, value: Any) -> Any:
    """PyTorch's tensor with Flax's axes."""
    turned = value.transpose(self._order)
    return turned.reshape(turned.shape[: len(self.axes)])

  def to_torch(self, value: Any) -> Any:
    """Flax's array with PyTorch's axes."""
    ones = (1,) * (self.rank - len(self.axes))
    return value.reshape(*value.shape, *ones).transpose(np.argsort(self._order))

  @property
  def _order(self) -> tuple[int, ...]:
    rest = (axis for axis in range(self.rank) if axis not in self.axes)
    return (*self.axes, *rest)


class Leaf(NamedTuple):
  """One tensor of a module.

  Attributes:
    collection: of Flax's variables; "" for arrays that stand by themselves.
    name: Flax's name.
    layout: the order of its axes.
  """

  collection: str
  name: str
  layout: Layout


Kind = Mapping[str, Leaf]  # by PyTorch's name, such as "weight"

_VECTOR = Layout((0,), 1)


def _kernel(*axes: int, rank: int | None = None) -> Kind:
  layout = Layout(axes, rank or len(axes))
  return {
    "weight": Leaf("params", "kernel", layout),
    "bias": Leaf("params", "bias", _VECTOR),
  }


# Kernels are height, width, in, out in Flax, and out, in, height, width in
# PyTorch; those of transposed convolutions are in, out, height, width there.
CONV = _kernel(2, 3, 1, 0)
CONV_TRANSPOSED = _kernel(2, 3, 0, 1)
UPSAMPLE = _kernel(0, 2, 3, 1)  # `nets/unet.py` has in, height, width, out
DENSE = _kernel(1, 0)
POINTWISE = _kernel(1, 0, rank=4)  # a 1x1 convolution that is a Dense in Flax
FLAX_CONV: Kind = {  # in files of Flax's own arrays
  "kernel": Leaf("params", "kernel", Layout((0, 1, 2, 3), 4)),
  "bias": Leaf("params", "bias", _VECTOR),
}
NORM: Kind = {
  "weight": Leaf("params", "scale", _VECTOR),
  "bias": Leaf("params", "bias", _VECTOR),
}
BATCH_NORM: Kind = {
  **NORM,
  "running_mean": Leaf("batch_stats", "mean", _VECTOR),
  "running_var": Leaf("batch_stats", "var", _VECTOR),
}
# Of modules that hold a kernel beside their normalization's bias.
CONV_KERNEL: Kind = {"weight": CONV["weight"]}
POINTWISE_KERNEL: Kind = {"weight": POINTWISE["weight"]}
MEMORY: Kind = {"weight": Leaf("params", "items", Layout((0, 1), 2))}
# Mean and scale of a feature's channels, stored as the pair of a dict's entry.
STATISTICS: Kind = {
  "0": Leaf("", "mean", Layout((1,), 4)),
  "1": Leaf("", "scale", Layout((1,), 4)),
}


@dataclasses.dataclass(frozen=True)
class Module:
  """A module on both sides.

  Attributes:
    path: Flax's, such as "encoder/Dense_0".
    kind: its tensors.
  """

  path: str
  kind: Kind


# By PyTorch's name of the module. A table may hold modules that a net of some
# sizes lacks: the net's variables decide.
Table = Mapping[str, Module]


class Entry(NamedTuple):
  """One tensor that a net needs.

  Attributes:
    path: in Flax's variables, such as "params/encoder/Dense_0/kernel".
    layout: the order of its axes.
    shape: PyTorch's.
  """

  path: str
  layout: Layout
  shape: tuple[int, ...]


def entries(table: Table, variables: Any) -> dict[str, Entry]:
  """The tensors that make a net's variables, by PyTorch's name.

  Args:
    table: of the net.
    variables: arrays, or their shapes as `jax.eval_shape` gives them.

  Raises:
    ValueError: the table has no name for some variables; all are listed.
  """
  places = {path: (name, layout) for name, path, layout in _tensors(table)}
  flat = traverse_util.flatten_dict(variables, sep="/")
  unnamed = sorted(flat.keys() - places.keys())
  if unnamed:
    raise ValueError(f"PyTorch has no names for {', '.join(unnamed)}")
  found = {}
  for path, leaf in flat.items():
    name, layout = places[path]
    found[name] = Entry(path, layout, layout.torch_shape(leaf.shape))
  return found


class Misfits(NamedTuple):
  """Differences between a `state_dict` and the variables of a net.

  Attributes:
    missing: names that it lacks.
    unknown: names that the net does not have.
    misshaped: names with the shape found and the shape wanted.
  """

  missing: list[str]
  unknown: list[str]
  misshaped: list[str]


def misfits(
  table: Table, variables: Any, shapes: Shapes, ignored: tuple[str, ...] = ()
) -> Misfits:
  """Compares a `state_dict` with a net, by names and shapes.

  Args:
    table: of the net.
    variables: arrays or their shapes.
    shapes: of the `state_dict`.
    ignored: patterns of names that may be there besides.
  """
  wanted = entries(table, variables)
  patterns = (f"*.{_COUNT}", *ignored)
  return Misfits(
    [name for name in wanted if name not in shapes],
    [
      name
      for name in shapes
      if name not in wanted
      and not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    ],
    [
      f"{name} {tuple(shapes[name])} instead of {entry.shape}"
      for name, entry in wanted.items()
      if name in shapes and tuple(shapes[name]) != entry.shape
    ],
  )


def to_flax(table: Table, state: Mapping[str, Any]) -> dict[str, Any]:
  """Flax's variables of a `state_dict`, views of the same values.

  Only names are checked; call `misfits` before for the rest.

  Raises:
    KeyError: the table has no such name.
  """
  places = {name: (path, layout) for name, path, layout in _tensors(table)}
  found = {}
  for name, value in state.items():
    if not name.endswith(f".{_COUNT}"):
      path, layout = places[name]
      found[path] = layout.to_flax(value)
  return traverse_util.unflatten_dict(found, sep="/")


def to_torch(table: Table, variables: Any) -> dict[str, np.ndarray]:
  """The `state_dict` of Flax's variables, in the table's order.

  `load_state_dict` takes it with `strict=True`. Flax does not count the batches
  of batch normalization, so `num_batches_tracked` is 0.

  Raises:
    ValueError: the table has no name for some variables; all are listed.
  """
  wanted = entries(table, variables)
  flat = traverse_util.flatten_dict(variables, sep="/")
  found = {}
  for name, _, layout in _tensors(table):
    if name in wanted:
      value = np.asarray(flat[wanted[name].path])
      found[name] = layout.to_torch(value)
    if name in wanted and name.endswith(".running_var"):
      module = name.rsplit(".", 1)[0]
      found[f"{module}.{_COUNT}"] = np.zeros((), np.int64)
  return found


def _tensors(table: Table) -> Iterator[tuple[str, str, Layout]]:
  """PyTorch's name, Flax's path and the layout of each possible tensor."""
  for name, module in table.items():
    for torch_leaf, (collection, flax_leaf, layout) in module.kind.items():
      parts = (collection, module.path, flax_leaf)
      yield f"{name}.{torch_leaf}", "/".join(filter(None, parts)), layout
