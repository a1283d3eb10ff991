"""The processes of a run: one program on the devices of several of them.

Every process runs the same code on the same numbers and holds the same whole
arrays between phases; only inside a phase are arrays spread over the devices of
all. The first one writes what the run leaves behind, checkpoints are written
and read by all.
"""

from collections.abc import Iterator
import contextlib
import os
from typing import Any

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding
import numpy as np

from medad_jax.types import UserError

# For clusters that jax does not know; the address is read by jax itself.
_COUNT, _NUMBER = "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


def join() -> None:
  """Meets the other processes of the run; before anything else asks jax.

  Slurm, Open MPI and Cloud TPU say who they are; elsewhere the environment has
  JAX_COORDINATOR_ADDRESS (host:port of the first process), JAX_NUM_PROCESSES
  and JAX_PROCESS_ID.

  Raises:
    UserError: nobody says who the others are, or they did not come.
  """
  try:
    jax.distributed.initialize(
      num_processes=_number(_COUNT),
      process_id=_number(_NUMBER),
      # Who is told does not ask: a job may start another within itself.
      cluster_detection_method="deactivate" if _COUNT in os.environ else None,
    )
  except (ValueError, RuntimeError) as error:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    raise UserError(
      f"--distributed could not join other processes ({reason}); start it by a"
      " script of launch/, or set JAX_COORDINATOR_ADDRESS,"
      f" {_COUNT} and {_NUMBER}."
    ) from error


def count() -> int:
  """Processes of the run."""
  return jax.process_count()


def first() -> bool:
  """Whether this process is the one that writes."""
  return jax.process_index() == 0


@contextlib.contextmanager
def first_before_others(what: str) -> Iterator[None]:
  """The block runs in the first process, then in the others.

  It may leave files that the others then find.
  """
  try:
    if not first():
      _meet(what)
    yield
  finally:
    # Also after an error, which the others will run into themselves.
    if first():
      _meet(what)


def agreed(value: bool) -> bool:
  """What the first process says."""
  if count() == 1:
    return value
  return bool(multihost_utils.broadcast_one_to_all(np.int32(value)))


def everywhere() -> Sharding:
  """A copy on every device of the run; on the first where it is alone."""
  if count() == 1:
    return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  return NamedSharding(Mesh(np.array(jax.devices()), "all"), PartitionSpec())


def shared(tree: Any) -> Any:
  """Arrays that every process holds, as one array of the run."""
  if count() == 1:
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
  if count() == 1:
    return tree
  if mesh is not None:
    copied = NamedSharding(mesh, PartitionSpec())
    tree = jax.jit(_same, out_shardings=copied)(tree)
  return jax.tree.map(
    lambda x: x if x.is_fully_addressable else x.addressable_data(0), tree
  )


def _same(tree: Any) -> Any:
  return tree


def _shift(index: slice, start: int) -> slice:
  if index.start is None and index.stop is None:
    return index
  return slice((index.start or 0) - start, index.stop - start)


def _meet(what: str) -> None:
  if count() > 1:
    multihost_utils.sync_global_devices(what)


def _number(name: str) -> int | None:
  text = os.environ.get(name)
  if text is None:
    return None
  if not text.isdecimal():
    raise UserError(f"{name}='{text}' is not a number; set it to one.")
  return int(text)
