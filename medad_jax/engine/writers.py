"""Output of a run while it trains: metrics, messages, a progress bar.

metrics.jsonl is the record, one JSON object a line; TensorBoard's files are a
view of it and are drawn again from it when a run goes back to a checkpoint.
"""

import collections
from collections.abc import Mapping, Sequence
import importlib
import json
import math
import os
from pathlib import Path
import sys
import time
from types import ModuleType
from typing import Any

import jax

from medad_jax import files
from medad_jax.engine import tensorboard
from medad_jax.types import Params, UserError

# A metric's value: one number, or one for each member (None: not training).
Value = float | Sequence[float | None]

_METRICS = "metrics.jsonl"
_LINE_SECONDS = 10.0


class Writers:
  """Writes a run's metrics and messages into its folder.

  Nothing is lost when the process is killed: a line is in the file when the
  call returns, and a line that was cut short is dropped by the next run.

  Args:
    workdir: the run's folder, made if it is not there.
    enabled: False where another process of the run writes.

  Raises:
    UserError: the folder cannot be written, or metrics.jsonl is damaged.
  """

  def __init__(self, workdir: Path, enabled: bool = True):
    self._workdir = workdir
    self._enabled = enabled
    self._board = tensorboard.Board(workdir / "tensorboard", _say)
    if not enabled:
      return
    files.make_folder(workdir)
    # First, or the next record would continue a torn line.
    _drop_torn_line(workdir / _METRICS)
    if not self._board.available:
      self.note("no TensorBoard files: tensorboardX is not installed")

  def scalars(self, phase: str, step: int, values: Mapping[str, Value]) -> None:
    """Records metrics; what is not finite is written as null.

    The name `seconds` has a meaning: how long the phase has trained so far.

    Args:
      phase: the phase's name.
      step: optimizer steps behind the values.
      values: one number, or one a member, by name.

    Raises:
      UserError: the disk is full.
    """
    if not self._enabled:
      return
    if taken := tensorboard.RESERVED & values.keys():
      raise ValueError(f"metrics cannot be named {sorted(taken)}")
    record = {"phase": phase, "step": step, "time": round(time.time(), 3)}
    record |= {name: _plain(value) for name, value in values.items()}
    # Before TensorBoard's, which can be drawn again from this file.
    _append(self._workdir / _METRICS, json.dumps(record))
    self._board.add(record)

  def rewind(self, phase: str, step: int) -> float:
    """Forgets what comes after `step` of `phase`, later phases included.

    The files then read as if the run had never gone further.

    Args:
      phase: the phase that goes on.
      step: the step it goes on from.

    Returns:
      Seconds that the phase had trained at that step.
    """
    if not self._enabled:
      return 0.0
    kept = _until(records(self._workdir), phase, step)
    _replace(self._workdir / _METRICS, kept)
    # Events cannot be taken back, so the files are written anew.
    self._board.clear()
    for record in kept:
      self._board.add(record)
    return _seconds(kept).get(phase, 0.0)

  def note(self, text: str) -> None:
    """Writes a message to log.txt, with the time, and to stderr.

    Raises:
      UserError: the disk is full.
    """
    if not self._enabled:
      return
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    _append(self._workdir / "log.txt", f"{stamp} {text}")
    _say(text)

  def keep(self, name: str, text: str) -> None:
    """Writes a text that is longer than a terminal's line into a file.

    Args:
      name: of the file in the run's folder.
      text: its lines.

    Raises:
      UserError: it cannot be written.
    """
    if not self._enabled:
      return
    files.write(self._workdir / name, text + "\n")

  def close(self) -> None:
    """Completes TensorBoard's file."""
    self._board.close()


class Progress:
  """A progress bar on a terminal, otherwise a line now and then.

  Both show the loss, images a second over the last ten seconds, and the time
  left at that pace. A first call compiles, so the pace starts with the second,
  also after a pause. Lines come every 10 s or every tenth of the phase.

  Args:
    phase: the phase's name.
    total_steps: steps it takes.
    done: steps taken by earlier runs.
    enabled: False where another process of the run writes.
  """

  def __init__(
    self, phase: str, total_steps: int, done: int = 0, enabled: bool = True
  ):
    self._phase, self._total, self._done = phase, total_steps, done
    self._enabled = enabled
    # (time, steps, images) at recent updates.
    self._recent = collections.deque[tuple[float, int, int]]()
    self._images = 0
    self._said = time.monotonic(), done
    self._bar = None
    tqdm = _optional("tqdm") if enabled and sys.stderr.isatty() else None
    if tqdm is not None:
      shape = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"
      self._bar = tqdm.tqdm(
        desc=phase, total=total_steps, initial=done, bar_format=shape
      )

  def update(self, steps: int, images: int, loss: float) -> None:
    """Tells that `steps` more steps over `images` images are behind."""
    self._done += steps
    self._images += images
    self._remember(time.monotonic())
    if self._bar is not None:
      self._bar.set_postfix_str(self._pace(loss), refresh=False)
      self._bar.update(steps)
    elif self._enabled and self._line_due():
      self._said = time.monotonic(), self._done
      share = self._done / self._total
      _say(
        f"{self._phase}: {self._done:,}/{self._total:,} steps ({share:.0%}),"
        f" {self._pace(loss)}"
      )

  def pause(self) -> None:
    """Tells that the next call does other work besides, as compiling."""
    self._recent.clear()

  def close(self) -> None:
    """Leaves the bar where it is."""
    if self._bar is not None:
      self._bar.close()

  def __enter__(self) -> "Progress":
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def _remember(self, now: float) -> None:
    self._recent.append((now, self._done, self._images))
    # Two stay, however old: a pace needs a difference.
    while len(self._recent) > 2 and self._recent[1][0] < now - _LINE_SECONDS:
      self._recent.popleft()

  def _pace(self, loss: float) -> str:
    first, last = self._recent[0], self._recent[-1]
    seconds, steps, images = (b - a for a, b in zip(first, last, strict=True))
    if not seconds or not steps:
      return f"loss {loss:.4g}"
    left = (self._total - self._done) * seconds / steps
    return f"loss {loss:.4g}, {images / seconds:,.0f} images/s, {_clock(left)}"

  def _line_due(self) -> bool:
    then, done = self._said
    return (
      time.monotonic() - then >= _LINE_SECONDS
      or self._done - done >= self._total / 10
      or self._done >= self._total
    )


def phase_seconds(workdir: Path) -> dict[str, float]:
  """Seconds that each phase trained, over all runs, by its name."""
  return _seconds(records(workdir))


def parameter_table(params: Params) -> tuple[str, str]:
  """One member's parameters by name, and how many all members have.

  Args:
    params: parameters of all members, every leaf [k, ...].

  Returns:
    A table of names, shapes and sizes, which needs clu; and a few words.
  """
  leaves = jax.tree.leaves(params)
  members, total = len(leaves[0]), sum(leaf.size for leaf in leaves)
  line = (
    f"{members} x {total // members:,} = {total:,} parameters"
    if members > 1
    else f"{total:,} parameters"
  )
  overview = _optional("clu.parameter_overview")
  if overview is None:
    return "install clu to see the parameters by name", line
  one = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), dict(params)
  )
  table = overview.get_parameter_overview(one, include_stats=False)
  return "\n".join([*table.splitlines()[:-1], line]), line


def _optional(name: str) -> ModuleType | None:
  """A package that only adds comfort, None where it is not installed."""
  try:
    return importlib.import_module(name)
  except ModuleNotFoundError:
    return None


def _say(text: str) -> None:
  """Prints to stderr, above the bar if there is one."""
  tqdm = sys.modules.get("tqdm")  # no bar without it
  if tqdm is None:
    print(text, file=sys.stderr, flush=True)
  else:
    tqdm.tqdm.write(text, file=sys.stderr)


def _append(path: Path, line: str) -> None:
  """Adds a line, whole or not at all.

  Raises:
    UserError: the disk is full, or the file may not be written.
  """
  left = line.encode(errors="backslashreplace") + b"\n"
  try:
    # Unbuffered, so that a line survives if the process is killed.
    with path.open("ab", buffering=0) as file:
      start = os.fstat(file.fileno()).st_size
      try:
        while left:
          # A raw write may be partial.
          left = left[file.write(left) :]
      except OSError:
        # Half a line would spoil the file for every reader.
        file.truncate(start)
        raise
  except OSError as error:
    raise files.unwritable(path, error) from error


def _drop_torn_line(path: Path) -> None:
  """Cuts what follows the last line end: a process died while writing it."""
  if not path.exists():
    return
  try:
    whole = path.read_bytes().rfind(b"\n") + 1
    with path.open("ab") as file:
      file.truncate(whole)
  except OSError as error:
    raise files.unwritable(path, error) from error


def records(workdir: Path) -> list[dict[str, Any]]:
  """The records of metrics.jsonl, none where there is no such file.

  Raises:
    UserError: it cannot be read, or a line is damaged.
  """
  path = workdir / _METRICS
  if not path.exists():
    return []
  try:
    lines = path.read_bytes().split(b"\n")[:-1]  # the last one may be torn
  except OSError as error:
    raise UserError(f"{path} cannot be read ({error.strerror}).") from error
  records = []
  for number, line in enumerate(lines, 1):
    try:
      record = json.loads(line)
      record["phase"], record["step"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
      raise UserError(
        f"line {number} of {path}, '{line[:40].decode(errors='replace')}', is"
        " damaged; remove that line and run the same command again."
      ) from error
    records.append(record)
  return records


def _until(
  records: list[dict[str, Any]], phase: str, step: int
) -> list[dict[str, Any]]:
  """Earlier phases, which stand before `phase`, and it up to `step`."""
  kept = []
  reached = False
  for record in records:
    own = record["phase"] == phase
    # Phases are in order, so whatever follows this one is later.
    reached = reached or own
    if not reached or (own and record["step"] <= step):
      kept.append(record)
  return kept


def _replace(path: Path, records: list[dict[str, Any]]) -> None:
  """Writes the file anew in one move: a kill leaves the old or the new one."""
  with files.replacing(path) as file:
    file.write("".join(json.dumps(r) + "\n" for r in records).encode())


def _seconds(records: list[dict[str, Any]]) -> dict[str, float]:
  return {r["phase"]: r["seconds"] for r in records if "seconds" in r}


def _plain(value: Any) -> Any:
  """The value as JSON; null stands for numbers that are not finite."""
  if isinstance(value, Sequence):
    return [_plain(v) for v in value]
  return value if value is not None and math.isfinite(value) else None


def _clock(seconds: float) -> str:
  hours, rest = divmod(round(seconds), 3600)
  if hours:
    return f"{hours}:{rest // 60:02}:{rest % 60:02} left"
  return f"{rest // 60}:{rest % 60:02} left"
