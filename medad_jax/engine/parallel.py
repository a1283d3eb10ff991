"""Device layouts: the only file that knows meshes, shard_map and pmap.

Methods are written for one member; the engine vmaps members and hands the
result to `Layout.lift`, which spreads members and batch over the devices. One
mesh `('member', 'batch')` serves everything:

  kind     array                 spread as
  MEMBER   [k, ...]              members over 'member', a copy along 'batch'
  FEED     [t, k, b, ...]        k over 'member', b over 'batch'
  STEPS    [t, k]                k over 'member'
  EXAMPLE  [b, ...]              b over all devices
  WHOLE    anything              a copy on every device

`mode='jit'` compiles `jit(shard_map(f))`. `mode='pmap'` compiles `pmap(f)` with
an explicit leading device axis on every array, and device groups instead of a
named batch axis; it exists for programs and people that still think in pmap.
Both run with unchecked replication, so one rule holds for gradients: a step
averages them over `Axis.mean` itself.

The mesh may hold the devices of several processes (`processes.py`). Every
process needs a device in it: where the axes leave some over, those compute what
others compute, along a third axis 'copy'. Between phases each process holds the
same whole arrays.
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools
import math
import os
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import (
  AxisType,
  Mesh,
  NamedSharding,
  PartitionSpec,
  Sharding,
)
import numpy as np

from medad_jax.engine import processes
from medad_jax.types import Axis

MEMBER = PartitionSpec("member")
FEED = PartitionSpec(None, "member", "batch")
STEPS = PartitionSpec(None, "member")
EXAMPLE = PartitionSpec(("member", "batch"))
WHOLE = PartitionSpec()
MODES = ("jit", "pmap")


@dataclasses.dataclass(frozen=True)
class Layout:
  """A mesh and the way programs are spread over it.

  Attributes:
    mesh: of axes 'member' and 'batch', and perhaps 'copy'.
    mode: 'jit' or 'pmap'.
  """

  mesh: Mesh
  mode: str

  @property
  def axis(self) -> Axis:
    """The batch axis as seen inside a lifted function."""
    size = self.mesh.shape["batch"]
    if self.mode == "jit":
      return Axis("batch", size)
    # pmap has one axis for all devices; a mean over the batch is taken within
    # the groups that hold the same members.
    groups = np.arange(self.mesh.size).reshape(-1, size)
    return Axis("device", size, tuple(tuple(map(int, g)) for g in groups))

  def lift(
    self,
    function: Callable[..., Any],
    inputs: Sequence[PartitionSpec],
    outputs: Any,
    donate: tuple[int, ...] = (),
    level: int = 1,
  ) -> Callable[..., Any]:
    """Compiles `function` for this layout.

    Args:
      function: acts on one device's part of its arguments.
      inputs: a kind for each argument.
      outputs: a kind for each result (or one for all).
      donate: arguments whose memory the results may reuse.
      level: of LLVM's optimization, 0 to 3, on a CPU.

    Returns:
      A function of arrays spread with `put`; its results are spread too.
    """
    if self.mode == "pmap":
      return jax.pmap(
        function,
        axis_name="device",
        devices=list(self.mesh.devices.flat),
        donate_argnums=donate,
      )
    mapped = jax.shard_map(
      function,
      mesh=self.mesh,
      in_specs=tuple(inputs),
      out_specs=outputs,
      # With the check, gradients of parameters that devices share arrive summed
      # (`pvary` transposes to `psum`), on top of the step's own mean.
      check_vma=False,
    )
    return jax.jit(
      mapped, donate_argnums=donate, compiler_options=self._options(level)
    )

  @property
  def platform(self) -> str:
    """ "cpu", "gpu" or "tpu"."""
    return self.mesh.devices.flat[0].platform

  @property
  def used(self) -> int:
    """Devices whose work no other device does, too."""
    return self.mesh.shape["member"] * self.mesh.shape["batch"]

  def _options(self, level: int) -> dict[str, Any]:
    """Options of XLA's compiler that these devices need."""
    if self.platform != "cpu":
      return {}
    # Without it the loop over steps copies parameters and moments.
    options = {"xla_cpu_copy_insertion_use_region_analysis": True}
    return options | optimization(level)

  def put(self, tree: Any, kind: PartitionSpec) -> Any:
    """Spreads whole arrays over the devices; of FEED, this process's part."""
    # A process can fill its own devices only.
    if processes.count() > 1:
      return jax.tree.map(lambda x: self._spread(x, kind), tree)
    if self.mode == "jit":
      if kind == MEMBER and self.platform == "cpu":
        # A CPU's arrays are numpy's at no cost, and JAX cuts these without a
        # program for each shape. Copied, as calls consume what they are given.
        return jax.tree.map(
          lambda x: _cut(x, NamedSharding(self.mesh, kind)), tree
        )
      return jax.device_put(tree, NamedSharding(self.mesh, kind))
    devices = Mesh(self.mesh.devices.reshape(-1), "device")
    # pmap wants a leading axis of devices. Arrays that already lie so are not
    # moved again at every call.
    spread = NamedSharding(devices, PartitionSpec("device"))
    return jax.tree.map(
      lambda x: jax.device_put(self._split(x, kind), spread), tree
    )

  def get(self, tree: Any, kind: PartitionSpec) -> Any:
    """The whole arrays again (still on the devices); not for FEED."""
    if self.mode == "jit":
      return local(tree, self.mesh)
    return jax.tree.map(lambda x: self._join(x, kind), tree)

  def part(self, members: int, rows: int) -> tuple[slice, slice]:
    """The members and the rows of a batch that this process feeds.

    With one process these are all.
    """
    low, high = self._mine
    sizes = (members // self._grid[0], rows // self._grid[1])
    spans = zip(low, high, sizes, strict=True)
    of_members, of_rows = (slice(a * n, b * n) for a, b, n in spans)
    return of_members, of_rows

  @property
  def _grid(self) -> tuple[int, int]:
    """Devices on the member and on the batch axis."""
    return self.mesh.shape["member"], self.mesh.shape["batch"]

  @functools.cached_property
  def _mine(self) -> tuple[list[int], list[int]]:
    """First and last place of this process's devices on both axes."""
    # Kept: it is asked for at every call of the training loop.
    devices = self.mesh.devices
    here = np.vectorize(lambda device: device.process_index)(devices)
    places = np.argwhere(here == jax.process_index())[:, :2]
    return places.min(0).tolist(), (places.max(0) + 1).tolist()

  def _spread(self, x: Any, kind: PartitionSpec) -> jax.Array:
    """An array of all processes, from this one's whole or part of it."""
    sharding = NamedSharding(self.mesh, kind)
    if kind != FEED:
      return spread(x, sharding)
    low, high = self._mine
    at = zip(low, high, x.shape[1:3], strict=True)
    sizes = [n // (b - a) for a, b, n in at]  # of a device
    whole = [n * s for n, s in zip(sizes, self._grid, strict=True)]
    start = [n * a for n, a in zip(sizes, low, strict=True)]
    rest = x.shape[3:]
    return spread(
      x,
      sharding,
      (x.shape[0], *whole, *rest),
      (0, *start, *(0 for _ in rest)),
    )

  def _split(self, x: Any, kind: PartitionSpec) -> jax.Array:
    """[...] -> [device, part...]: cuts the axes that `kind` names."""
    members, batches = self._grid
    x = jnp.asarray(x)
    if kind == WHOLE:
      return jnp.broadcast_to(x, (self.mesh.size, *x.shape))
    if kind == EXAMPLE:
      return x.reshape(self.mesh.size, -1, *x.shape[1:])
    at = 0 if kind == MEMBER else 1
    x = x.reshape(*x.shape[:at], members, -1, *x.shape[at + 1 :])
    # The mesh is flattened row by row: 'member' varies slowest.
    x = jnp.moveaxis(x, at, 0)
    if kind == FEED:
      x = x.reshape(*x.shape[:3], batches, -1, *x.shape[4:])
      x = jnp.moveaxis(x, 3, 1)
      return x.reshape(-1, *x.shape[2:])
    # Devices along 'batch' hold copies of the same members.
    return jnp.repeat(x, batches, axis=0)

  def _join(self, x: jax.Array, kind: PartitionSpec) -> jax.Array:
    """[device, part...] -> [...]: the inverse of `_split`."""
    if kind == WHOLE:
      return x[0]
    if kind == EXAMPLE:
      return x.reshape(-1, *x.shape[2:])
    x = x[:: self.mesh.shape["batch"]]  # copies along 'batch' are equal
    if kind == MEMBER:
      return x.reshape(-1, *x.shape[2:])
    x = jnp.moveaxis(x, 0, 1)
    return x.reshape(x.shape[0], -1, *x.shape[3:])


def optimization(level: int) -> dict[str, Any]:
  """A level for XLA's compiler as an option, unless `XLA_FLAGS` has one."""
  if "xla_backend_optimization_level" in os.environ.get("XLA_FLAGS", ""):
    return {}
  return {"xla_backend_optimization_level": level}


def make_layout(
  member: int, batch: int, mode: str, devices: Sequence[jax.Device]
) -> Layout:
  """A mesh of the first devices; copies on the rest, of several processes.

  Args:
    member: devices along 'member'.
    batch: devices along 'batch'.
    mode: 'jit' or 'pmap'.
    devices: of the run.
  """
  axes = {"member": member, "batch": batch}
  copies = len(devices) // (member * batch)
  if processes.count() > 1 and copies > 1:
    axes["copy"] = copies
  used = math.prod(axes.values())
  shape, names = tuple(axes.values()), tuple(axes)
  # Explicit axes, make_mesh's default, would put shardings into the types of
  # all arrays.
  types = (AxisType.Auto,) * len(axes)
  if used == len(jax.devices()) and used == len(devices):
    # Orders the devices by how they are wired.
    mesh = jax.make_mesh(shape, names, axis_types=types, devices=devices)
  else:
    # make_mesh refuses part of a TPU slice: it "contains a hole".
    mesh = Mesh(
      np.array(devices[:used]).reshape(shape), names, axis_types=types
    )
  return Layout(mesh, mode)


def everywhere() -> Sharding:
  """A copy on every device of the run; on the first where it is alone."""
  if processes.count() == 1:
    return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  return NamedSharding(Mesh(np.array(jax.devices()), "all"), PartitionSpec())


def shared(tree: Any) -> Any:
  """Arrays that every process holds, as one array of the run."""
  if processes.count() == 1:
    return tree
  return jax.tree.map(lambda x: spread(x, everywhere()), tree)


def spread(
  x: Any,
  sharding: Sharding,
  shape: tuple[int, ...] | None = None,
  origin: tuple[int, ...] | None = None,
) -> jax.Array:
  """An array of the run, of which each process gives its own devices' parts.

  Args:
    x: the whole array, or the part that this process has of it.
    sharding: where the parts are to lie.
    shape: of the whole; None where `x` is the whole.
    origin: where `x` begins in the whole; None for its corner.
  """
  # numpy cannot hold keys, only the numbers that they are made of.
  if jax.dtypes.issubdtype(jnp.result_type(x), jax.dtypes.prng_key):
    data = spread(jax.random.key_data(x), sharding)
    return jax.random.wrap_key_data(data)
  part = np.asarray(x)
  start = origin or (0,) * part.ndim

  def cut(index: Any) -> np.ndarray:  # slices of the whole
    return part[tuple(map(_shift, index, start))]

  return jax.make_array_from_callback(shape or part.shape, sharding, cut)


def local(tree: Any, mesh: Mesh | None = None) -> Any:
  """Arrays of the run, whole, on this process's first device.

  Args:
    tree: arrays on the devices of all processes.
    mesh: these devices; None where every device has a copy already.
  """
  if processes.count() == 1:
    return tree
  if mesh is not None:
    copied = NamedSharding(mesh, PartitionSpec())
    # A compiled identity gathers across processes. It is a named function,
    # because jit would compile a new lambda at every call.
    tree = jax.jit(_same, out_shardings=copied)(tree)
  return jax.tree.map(
    # Every device has a copy by now, so the first local one will do.
    lambda x: x if x.is_fully_addressable else x.addressable_data(0),
    tree,
  )


def gathered(tree: Any) -> Any:
  """Whole arrays that `Layout.get` gave, on this process's first device."""
  return jax.device_put(tree, jax.local_devices()[0])


def _cut(x: Any, sharding: Sharding) -> jax.Array:
  """An array of this process, cut on the host."""
  # As in `spread`.
  if jax.dtypes.issubdtype(jnp.result_type(x), jax.dtypes.prng_key):
    return jax.random.wrap_key_data(_cut(jax.random.key_data(x), sharding))
  return jax.device_put(np.asarray(x), sharding, may_alias=False)


def _same(tree: Any) -> Any:
  return tree


def _shift(index: slice, start: int) -> slice:
  if index.start is None and index.stop is None:
    return index
  return slice((index.start or 0) - start, index.stop - start)
