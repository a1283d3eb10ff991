"""TensorBoard files, a view of the metrics; only here is tensorboardX used."""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import importlib.util
from pathlib import Path
import shutil
import sys
import time
from typing import Any

RESERVED = {"phase", "step", "time"}  # what a record has besides its metrics
_FLUSH_SECONDS = 30.0  # a view need not be newer


class Board:
  """TensorBoard's files; nothing happens where tensorboardX is absent.

  Its plain writer is used, not the one with a queue and a thread: at a Ctrl-C
  the program would wait for that thread, for ever if the queue is full.

  Args:
    folder: where the files go.
    say: called with a sentence where they cannot be written.
  """

  def __init__(self, folder: Path, say: Callable[[str], None]):
    self._folder, self._say = folder, say
    self.available = importlib.util.find_spec("tensorboardX") is not None
    self._file: Any = None
    self._flushed = 0.0

  def add(self, record: Mapping[str, Any]) -> None:
    """Adds a record, as one event: an event a number is six times slower.

    On a full disk no more is written; the next run writes everything anew.
    """
    if not self.available:
      return
    try:
      self._write(record)
    except OSError as error:
      self.available = False
      self._say(f"no more TensorBoard files ({error.strerror})")

  def clear(self) -> None:
    """Removes all files."""
    self.close()
    shutil.rmtree(self._folder, ignore_errors=True)

  def close(self) -> None:
    """Completes the file."""
    file, self._file = self._file, None
    if file is not None:
      with contextlib.suppress(OSError):  # a view, drawn again when resumed
        file.close()

  def __del__(self):
    self.close()  # a run that ends by an error may not have

  def _write(self, record: Mapping[str, Any]) -> None:
    if self._file is None:
      with _without("torch"):
        from tensorboardX import event_file_writer
      self._folder.mkdir(parents=True, exist_ok=True)
      self._file = event_file_writer.EventsWriter(str(self._folder / "events"))
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    numbers = [Summary.Value(tag=k, simple_value=v) for k, v in _tags(record)]
    self._file.write_event(
      Event(
        wall_time=record["time"],
        step=record["step"],
        summary=Summary(value=numbers),
      )
    )
    if time.monotonic() - self._flushed > _FLUSH_SECONDS:
      self._file.flush()
      self._flushed = time.monotonic()


@contextlib.contextmanager
def _without(name: str) -> Iterator[None]:
  """Hides a package that is not yet loaded from what is imported here.

  tensorboardX loads PyTorch where it is installed, for a type that is not used
  here. That costs seconds at the start of a run, and memory to its end.
  """
  absent = name not in sys.modules
  if absent:
    sys.modules[name] = None  # type: ignore[assignment]
  try:
    yield
  finally:
    if absent:
      del sys.modules[name]


def _tags(record: Mapping[str, Any]) -> list[tuple[str, float]]:
  """TensorBoard's names: phase/metric, or phase/metric/member."""
  found = []
  for name in record.keys() - RESERVED:
    tag, value = f"{record['phase']}/{name}", record[name]
    if isinstance(value, list):
      found += [(f"{tag}/{k}", v) for k, v in enumerate(value)]
    else:
      found.append((tag, value))
  return sorted((tag, v) for tag, v in found if v is not None)
