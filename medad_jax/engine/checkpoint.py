"""Checkpoints: the only file that imports orbax.

  checkpoints/<phase>/steps/<n>   whole states, to resume training exactly
  checkpoints/<phase>/final       a finished phase, without its optimizer
  checkpoints/<phase>/damaged     checkpoints that can no longer be used
  checkpoints/<phase>_best        the best states so far, by a monitor
  checkpoints/<phase>_kept/<n>    states that a validation saw, if they are kept

Orbax writes to a temporary folder and renames it, so a killed process leaves
the previous checkpoint in place. A file of checksums completes a checkpoint:
orbax restores most damaged files without noticing, and reports the others as
tracebacks from its threads. In a run of several processes, all write and read.
"""

from collections.abc import Callable, Iterator, Mapping
import dataclasses
import errno
import os
from pathlib import Path
import shutil
from typing import Any
import zlib

import jax
import orbax.checkpoint as ocp

from medad_jax import files
from medad_jax.engine import parallel, processes
from medad_jax.types import TrainState, UserError

_SUMS = "checksums.json"
_KEPT = "_kept"
_INTERRUPTED = "its writing was interrupted"
_BLOCK = 1 << 24  # bytes a checksum reads at a time


class Checkpoints:
  """The checkpoints of one phase.

  Args:
    folder: the run's checkpoint folder.
    phase: the phase's name.

  Attributes:
    folder: the phase's own; what else lies there goes with them.
  """

  def __init__(self, folder: Path, phase: str):
    self.folder = folder.absolute() / phase
    self._final = self.folder / "final"
    self._steps: ocp.CheckpointManager | None = None

  @property
  def finished(self) -> bool:
    """True when the phase has ended."""
    return self._final.is_dir()

  def recover(self, note: Callable[[str], None]) -> None:
    """Falls back to the newest sound checkpoint, if newer ones are damaged.

    The damaged ones are moved aside, none is removed.

    Args:
      note: called with a sentence about each of them.

    Raises:
      UserError: there are checkpoints and none is sound.
    """
    damaged: dict[Path, str] = {}
    for folder in self._newest_first():
      reason = _damage(folder)
      # Newer ones must go: orbax would restore the newest that it finds.
      if reason is None:
        self._set_aside(damaged, f"{folder.name} instead", note)
        return
      damaged[folder] = reason
    # A run killed during its first save has lost nothing but time. After other
    # damage the user decides: training anew would overwrite what a copy could
    # repair.
    if all(reason == _INTERRUPTED for reason in damaged.values()):
      self._set_aside(damaged, "the start of the phase", note)
      return
    raise UserError(
      f"no checkpoint in {self.folder} is sound ({_list(damaged)}); restore"
      " them from a copy, or remove this folder to train the phase again."
    )

  def latest(self) -> int | None:
    """Steps of the newest whole checkpoint of an unfinished phase."""
    return self._manager().latest_step()

  def save(self, step: int, state: Any) -> None:
    """Writes a tree of arrays, then removes all older ones but one.

    Raises:
      UserError: it could not be written; what was there before stays.
    """
    self._check_room(step, state)
    try:
      saved = self._manager().save(
        step, args=ocp.args.StandardSave(parallel.shared(state))
      )
      self._manager().wait_until_finished()
    except (OSError, ValueError, RuntimeError) as error:
      raise self._unwritable(step, error) from error
    if saved:  # not where a later step is there already
      _complete(self._steps_folder / str(step))

  def restore(self, step: int, target: Any) -> Any:
    """Reads a checkpoint into the shapes and shardings of `target`.

    Raises:
      UserError: its arrays are not those of the configuration.
    """
    _check_fit(self._steps_folder / str(step) / "default", target)
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
        # Adam's moments are two thirds of a state, and no later stage reads
        # them.
        state = dataclasses.replace(state, opt={})
        writer.save(self._final, parallel.shared(state))
    except (OSError, ValueError, RuntimeError) as error:
      raise self._unwritable(int(state.step.max()), error) from error
    # Before the removal below: without checksums this counts as interrupted,
    # and `recover` needs the older ones.
    _complete(self._final)
    self.close()
    if processes.first():
      for name in ("steps", "damaged"):
        shutil.rmtree(self.folder / name, ignore_errors=True)

  def final(self, target: TrainState | None = None) -> TrainState:
    """The finished phase's states, with an empty optimizer.

    Args:
      target: their shapes; None for those in the file.

    Raises:
      UserError: the phase has not finished, its checkpoint is damaged, or its
        arrays are not those of the configuration.
    """
    if not self.finished:
      raise UserError(
        f"{self.folder} holds no finished phase; run the training command"
        " again to finish it."
      )
    if reason := _damage(self._final):
      raise UserError(
        f"{self._final} is damaged ({reason}); run the training command again,"
        " which goes on from an older checkpoint if there is one."
      )
    with ocp.StandardCheckpointer() as reader:
      if target is None:
        target = _stored(reader.metadata(self._final).item_metadata.tree)
      target = dataclasses.replace(target, opt={})
      _check_fit(self._final, target)
      return parallel.local(reader.restore(self._final, target))

  def remove(self) -> None:
    """Removes everything."""
    self.close()
    if processes.first():
      shutil.rmtree(self.folder, ignore_errors=True)

  def close(self) -> None:
    """Ends orbax's threads; the object may be used again."""
    if self._steps is not None:
      self._steps.close()
      self._steps = None

  def _manager(self) -> ocp.CheckpointManager:
    if self._steps is None:
      options = ocp.CheckpointManagerOptions(
        # Two, so that damage to the newest one costs one interval. Not
        # asynchronous, as the next call reuses the memory of these states.
        max_to_keep=2,
        enable_async_checkpointing=False,
      )
      self._steps = ocp.CheckpointManager(self._steps_folder, options=options)
    return self._steps

  @property
  def _steps_folder(self) -> Path:
    return self.folder / "steps"

  def _newest_first(self) -> Iterator[Path]:
    # The end of a phase is newer than any of its steps.
    if self._final.is_dir():
      yield self._final
    steps = [p for p in self._steps_folder.glob("*") if p.name.isdecimal()]
    yield from sorted(steps, key=lambda path: int(path.name), reverse=True)

  def _set_aside(
    self,
    damaged: Mapping[Path, str],
    sound: str,
    note: Callable[[str], None],
  ) -> None:
    aside = self.folder / "damaged"
    for folder, reason in damaged.items():
      note(
        f"{folder} cannot be used ({reason}) and was moved to {aside}; going on"
        f" from {sound}"
      )
      if not processes.first():
        continue
      try:
        aside.mkdir(exist_ok=True)
        # An earlier recovery may have left the same step there, and a folder
        # that is not empty cannot be replaced.
        shutil.rmtree(aside / folder.name, ignore_errors=True)
        folder.rename(aside / folder.name)
      except OSError as error:
        raise files.unwritable(aside, error) from error

  def _check_room(self, step: int, state: Any) -> None:
    """Checks first: on a full disk orbax's threads print tracebacks."""
    # Orbax compresses, so this errs on the safe side.
    needed = sum(x.nbytes for x in jax.tree.leaves(state))
    try:
      self.folder.mkdir(parents=True, exist_ok=True)
      free = shutil.disk_usage(self.folder).free
    except OSError as error:
      raise self._unwritable(step, error) from error
    if free < needed:
      raise self._unwritable(
        step,
        OSError(
          f"{os.strerror(errno.ENOSPC)}: it takes {needed / 1e6:,.1f} MB and"
          f" {free / 1e6:,.1f} MB are free"
        ),
      )

  def _unwritable(self, step: int, error: Exception) -> UserError:
    kept = [path.name for path in self._newest_first()]
    return UserError(
      f"the checkpoint of step {step} could not be written to"
      f" {self.folder} ({_reason(error)});"
      f" {'step ' + kept[0] if kept else 'nothing'} is saved there: free"
      " space and run the same command again to go on from it."
    )


def recover(folder: Path, note: Callable[[str], None]) -> None:
  """Falls back to sound checkpoints in all phases (`Checkpoints.recover`).

  Args:
    folder: the run's checkpoint folder; it need not exist.
    note: called with a sentence about each checkpoint that is left out.

  Raises:
    UserError: a phase has checkpoints and none is sound.
  """
  # The others look when the first process has moved what it moves.
  with processes.first_before_others("recover"):
    for path in sorted(folder.glob("*/")):
      Checkpoints(folder, path.name).recover(note)


def keep(folder: Path, phase: str, step: int, state: TrainState) -> None:
  """Keeps the states of a step for good, without the optimizer's.

  Args:
    folder: the run's checkpoint folder.
    phase: the phase's name.
    step: steps behind the states.
    state: of all members.

  Raises:
    UserError: they could not be written.
  """
  own = folder / f"{phase}{_KEPT}"
  saved = Checkpoints(own, str(step))
  # A resumed run comes by once more, with the same states.
  if not saved.finished or _damage(own / str(step) / "final"):
    saved.remove()
    saved.finish(state)


def kept(folder: Path, phase: str) -> dict[int, Checkpoints]:
  """The checkpoints that `keep` has left, by their step; see it."""
  own = folder / f"{phase}{_KEPT}"
  steps = [int(path.parent.name) for path in own.glob("*/final")]
  return {step: Checkpoints(own, str(step)) for step in sorted(steps)}


def abstract(tree: Any, sharding: jax.sharding.Sharding) -> Any:
  """Shapes and types with a sharding, as the target of `restore`."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
  )


def _complete(folder: Path) -> None:
  """Adds the checksums of a checkpoint's files."""
  if processes.first():
    sums = {name: _checksum(folder / name) for name in _files(folder)}
    files.write_json(folder / _SUMS, sums)


def _damage(folder: Path) -> str | None:
  """Reason why a checkpoint is unusable; None if it is sound."""
  # Written last: where it is absent, the rest may be incomplete.
  if not (folder / _SUMS).exists():
    return _INTERRUPTED
  try:
    sums = files.read_json(folder / _SUMS, "")
    for name, expected in sums.items():
      if _checksum(folder / name) != expected:
        return f"{name} has changed"
  except UserError:
    return f"{_SUMS} is damaged"
  except OSError as error:
    return f"{name}: {error.strerror}"
  return None


def _files(folder: Path) -> Iterator[str]:
  for path in sorted(folder.rglob("*")):
    if path.is_file() and path.name != _SUMS:
      yield path.relative_to(folder).as_posix()


def _checksum(path: Path) -> int:
  # A CRC finds accidents, which is all that is asked of it, and is quick.
  crc = 0
  with path.open("rb") as file:
    # In blocks, as a checkpoint may be larger than the free memory.
    while block := file.read(_BLOCK):
      crc = zlib.crc32(block, crc)
  return crc


def _list(damaged: Mapping[Path, str]) -> str:
  return ", ".join(f"{path.name}: {why}" for path, why in damaged.items())


def _check_fit(folder: Path, target: Any) -> None:
  """Compares shapes before orbax does, whose threads print tracebacks."""
  with ocp.StandardCheckpointer() as reader:
    stored = _shapes(reader.metadata(folder).item_metadata.tree)
  # Through orbax's own naming, so that dataclasses and tuples get the keys that
  # the file has.
  wanted = _shapes(ocp.tree.serialize_tree(target, keep_empty_nodes=True))
  differ = [
    f"{name} is {stored.get(name, 'absent')} there and"
    f" {wanted.get(name, 'absent')} by the configuration"
    for name in sorted(stored.keys() | wanted.keys())
    if stored.get(name) != wanted.get(name)
  ]
  if differ:
    more = f", and {len(differ) - 3} more" if len(differ) > 3 else ""
    raise UserError(
      f"{folder} does not fit the configuration: {', '.join(differ[:3])}{more};"
      " config.json was changed, or the folder is another run's: restore what"
      " was there, or train in another --workdir."
    )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  """Shapes of the arrays in nested dicts and lists, by path."""
  leaves = jax.tree_util.tree_leaves_with_path(
    tree, is_leaf=lambda x: hasattr(x, "shape")
  )
  found = {}
  for path, leaf in leaves:
    if not hasattr(leaf, "shape"):
      continue
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      leaf = jax.eval_shape(jax.random.key_data, leaf)  # as it is stored
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    found[name] = tuple(leaf.shape)
  return found


def _reason(error: Exception) -> str:
  """The system's message, taken out of orbax's longer one where it fits."""
  full = os.strerror(errno.ENOSPC)
  if full in str(error) and not isinstance(error, OSError):
    return full
  return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _stored(arrays: Mapping[str, Any]) -> TrainState:
  """Shapes of an estimate's states, from the metadata of its checkpoint."""
  members = arrays["step"].shape[0]
  keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), members))
  state = TrainState(arrays["step"], arrays["params"], {}, {}, keys)
  return abstract(state, parallel.everywhere())
