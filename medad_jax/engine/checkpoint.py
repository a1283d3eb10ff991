"""Checkpoints: the only file that imports orbax.

  checkpoints/<phase>/steps/<n>   whole states, to go on training exactly
  checkpoints/<phase>/final       a finished phase, without its optimizer
  checkpoints/<phase>_best        states that a validation chose, on the way

Orbax writes to a temporary folder and renames it, so a killed process leaves
the previous checkpoint in place. Of several processes all write and read.
"""

from collections.abc import Mapping
import dataclasses
import errno
import os
from pathlib import Path
import shutil
from typing import Any

import jax
import orbax.checkpoint as ocp

from medad_jax.engine import parallel, processes
from medad_jax.types import TrainState, UserError


class Checkpoints:
  """The checkpoints of one phase.

  Args:
    folder: the run's checkpoint folder.
    phase: the phase's name.
  """

  def __init__(self, folder: Path, phase: str):
    self._folder = folder.absolute() / phase
    self._steps: ocp.CheckpointManager | None = None

  @property
  def finished(self) -> bool:
    """True when the phase has ended."""
    return (self._folder / "final").is_dir()

  def latest(self) -> int | None:
    """Steps of the newest whole checkpoint of an unfinished phase."""
    return self._manager().latest_step()

  def save(self, step: int, state: Any) -> None:
    """Writes a tree of arrays; older ones but one are removed afterwards.

    Raises:
      UserError: it could not be written; what was there before stays.
    """
    self._check_room(step, state)
    try:
      self._manager().save(
        step, args=ocp.args.StandardSave(parallel.shared(state))
      )
      self._manager().wait_until_finished()
    except (OSError, ValueError, RuntimeError) as error:
      raise self._unwritable(step, error) from error

  def restore(self, step: int, target: Any) -> Any:
    """Reads a checkpoint into the shapes and shardings of `target`."""
    args = ocp.args.StandardRestore(target)
    return parallel.local(self._manager().restore(step, args=args))

  def finish(self, state: TrainState) -> None:
    """Writes the phase's end and removes the checkpoints on the way to it.

    Raises:
      UserError: it could not be written; what was there before stays.
    """
    self._check_room(int(state.step.max()), state)
    try:
      with ocp.StandardCheckpointer() as writer:
        state = dataclasses.replace(state, opt={})
        writer.save(self._folder / "final", parallel.shared(state))
    except (OSError, ValueError, RuntimeError) as error:
      raise self._unwritable(int(state.step.max()), error) from error
    self.close()
    if processes.first():
      shutil.rmtree(self._folder / "steps", ignore_errors=True)

  def final(self, target: TrainState | None = None) -> TrainState:
    """The finished phase's states, with an empty optimizer.

    Args:
      target: their shapes; None for those in the file.

    Raises:
      UserError: the phase has not finished.
    """
    if not self.finished:
      raise UserError(
        f"{self._folder} holds no finished phase; run the training command"
        " again to finish it."
      )
    folder = self._folder / "final"
    with ocp.StandardCheckpointer() as reader:
      if target is None:
        target = _stored(reader.metadata(folder).item_metadata.tree)
      target = dataclasses.replace(target, opt={})
      return parallel.local(reader.restore(folder, target))

  def remove(self) -> None:
    """Removes everything."""
    self.close()
    if processes.first():
      shutil.rmtree(self._folder, ignore_errors=True)

  def close(self) -> None:
    """Ends orbax's threads; the object may be used again."""
    if self._steps is not None:
      self._steps.close()
      self._steps = None

  def _manager(self) -> ocp.CheckpointManager:
    if self._steps is None:
      options = ocp.CheckpointManagerOptions(
        max_to_keep=2, enable_async_checkpointing=False
      )
      self._steps = ocp.CheckpointManager(
        self._folder / "steps", options=options
      )
    return self._steps

  def _check_room(self, step: int, state: Any) -> None:
    """Asks before writing: on a full disk orbax's threads print tracebacks."""
    self._folder.mkdir(parents=True, exist_ok=True)
    needed = sum(x.nbytes for x in jax.tree.leaves(state))
    free = shutil.disk_usage(self._folder).free
    if free < needed:
      raise self._unwritable(
        step,
        OSError(
          f"{os.strerror(errno.ENOSPC)}: it takes {needed / 1e6:,.0f} MB and"
          f" {free / 1e6:,.0f} MB are free"
        ),
      )

  def _unwritable(self, step: int, error: Exception) -> UserError:
    kept = sorted(p.name for p in self._folder.glob("steps/[0-9]*"))
    return UserError(
      f"the checkpoint of step {step} could not be written to"
      f" {self._folder} ({_reason(error)});"
      f" {'step ' + kept[-1] if kept else 'nothing'} is saved there: free"
      " space and run the same command again to go on from it."
    )


def abstract(tree: Any, sharding: jax.sharding.Sharding) -> Any:
  """Shapes and types with a sharding: what `restore` wants as its target."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
  )


def _reason(error: Exception) -> str:
  """The system's words at the end of a long story about files, if they fit."""
  full = os.strerror(errno.ENOSPC)
  if full in str(error) and not isinstance(error, OSError):
    return full
  return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _stored(arrays: Mapping[str, Any]) -> TrainState:
  """What a file says that it holds of an estimate."""
  members = arrays["step"].shape[0]
  keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), members))
  state = TrainState(arrays["step"], arrays["params"], {}, {}, keys)
  return abstract(state, parallel.everywhere())
