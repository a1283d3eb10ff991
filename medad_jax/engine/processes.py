"""The processes of a run: who they are, who writes, when they meet.

All run the same code on the same numbers. The first one writes what the run
leaves behind; checkpoints are written and read by all.
"""

from collections.abc import Iterator
import contextlib
import os

import jax
from jax.experimental import multihost_utils
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
      # Given numbers are final: without this, a run that is started inside
      # a cluster's job would take the job's numbers.
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
  """True in the process that writes."""
  return jax.process_index() == 0


@contextlib.contextmanager
def first_before_others(what: str) -> Iterator[None]:
  """Runs the block in the first process, then in the others.

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
  """The first process's value, in all processes."""
  if count() == 1:
    return value
  return bool(multihost_utils.broadcast_one_to_all(np.int32(value)))


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
