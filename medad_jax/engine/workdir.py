"""A run's folder: who writes to it, and to which run it belongs.

.lock         held by the process that writes
run.json      the data, and what every start of the training ran on
config.json   the configuration; a folder that has one belongs to a run
columns.json  texts of the columns that the method reads, as codes count them
imported.json files of PyTorch that the states are from, where some are
"""

from collections.abc import Iterable, Iterator, Mapping
import contextlib
import errno
import fcntl
import functools
import json
import os
from pathlib import Path
import platform
import sys
import time
from typing import IO, Any

import medad_jax
from medad_jax import files
from medad_jax.data import columns
from medad_jax.engine import config as configuration
from medad_jax.engine import fields, processes
from medad_jax.report import provenance
from medad_jax.types import UserError

# A file server needs this long to notice that another machine has died.
_WAIT_SECONDS = 120.0
_SHOWN = 8  # offenders that one sentence names; the others are counted
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


class Workdir:
  """The folder of one run.

  Args:
    path: the folder; it need not exist.
  """

  def __init__(self, path: Path):
    self.path = path
    self._config, self._run = path / "config.json", path / "run.json"
    self._columns = path / "columns.json"
    self._imported = path / "imported.json"

  @contextlib.contextmanager
  def locked(self) -> Iterator[None]:
    """Keeps other runs out of the folder, which is made if it is absent.

    The system frees the lock when its process ends, however that happens. Of
    several processes of a run the first one holds it.

    Raises:
      UserError: another run holds it, or the folder cannot be written.
    """
    file, refusal = None, None
    if processes.first():
      try:
        file = self._lock()
      except UserError as error:
        refusal = error
    # All must stop together, or the others would wait for the first.
    if not processes.agreed(refusal is None):
      raise refusal or UserError(f"the first process cannot use {self.path}.")
    try:
      yield
    finally:
      if file is not None:
        file.close()

  def claim(
    self, config: configuration.Config, data: Mapping[str, Any]
  ) -> None:
    """Makes the folder this run's, or checks that it is.

    Args:
      config: the run's configuration.
      data: "fingerprint" and "counts" of every data set, by its name.

    Raises:
      UserError: the folder holds a run of another configuration or of other
        images, or it cannot be written.
    """
    if self._config.exists():
      check_same(self.config(), config, f"{self.path} holds a run")
      self.check_data(data)
    if not processes.first():
      return
    # In this order: a folder with a configuration has everything.
    if not self._config.exists():
      files.write_json(self._run, {"data": data, "starts": []})
    files.write_json(self._config, dict(config))

  def config(self) -> dict[str, Any]:
    """The configuration that the folder's run was trained with.

    Fields that are newer than the run have their defaults, and a line says so.

    Raises:
      UserError: there is none, it is damaged, or this version lacks a field.
    """
    if not self._config.exists():
      raise UserError(
        f"{self.path} holds no run (no config.json); give the --workdir of a"
        " training run."
      )
    found = files.read_json(self._config, _REMEDY)
    if not isinstance(found.get("method"), str):
      raise UserError(f"{self._config} names no method; {_REMEDY}.")
    try:
      whole, lacking = configuration.completed(found)
      configuration.settings_of(whole)
      # Built to be checked: values of another version are reported here.
      configuration.build_method(whole)
    except UserError as error:
      raise UserError(
        f"{self._config} is of medad_jax {self._version()} and no configuration"
        f" of {medad_jax.__version__} ({error}); use that version, or"
        f" {_REMEDY}."
      ) from error
    tell_lacking(self._config, lacking)
    return whole

  def check_data(self, data: Mapping[str, Any]) -> None:
    """Checks that data sets are those that the run was trained on.

    Args:
      data: "fingerprint" and "counts" of every data set, by its name.

    Raises:
      UserError: some are not, or what they were was not recorded.
    """
    before = self._record()["data"]
    for name, facts in data.items():
      then = before.get(name)
      if not isinstance(then, Mapping):
        raise UserError(f"{self.path} was not trained on the data set {name}.")
      if then.get("fingerprint") != facts["fingerprint"]:
        raise UserError(
          f"the data set {name} is not the one that {self.path} was trained on"
          f" ({_other_counts(then.get('counts', {}), facts['counts'])}): it was"
          " built anew, or another one has its name; build it again as it was,"
          " or train in another --workdir."
        )

  def start(self, description: Mapping[str, Any]) -> list[str]:
    """Records that training starts or goes on.

    Args:
      description: what `environment.describe` says.

    Returns:
      What differs from the start before, in words.

    Raises:
      UserError: the folder cannot be written.
    """
    record = self._record()
    starts = record["starts"]
    if processes.first():
      more = {**record, "starts": [*starts, dict(description)]}
      files.write_json(self._run, more)
    return provenance.differences(starts[-1], description) if starts else []

  def keep_codes(self, codes: columns.Codes) -> None:
    """Keeps the texts of the columns that the method reads.

    Raises:
      UserError: the folder cannot be written.
    """
    if codes and processes.first():
      files.write_json(self._columns, dict(codes))

  def codes(self) -> columns.Codes:
    """The texts of the columns that the method reads, as codes count them.

    Raises:
      UserError: the file is damaged.
    """
    if not self._columns.exists():
      return {}
    return files.read_json(self._columns, _REMEDY)

  def keep_imported(self, record: Mapping[str, Any]) -> None:
    """Keeps the facts of files that states were imported from.

    Raises:
      UserError: the folder cannot be written.
    """
    if processes.first():
      files.write_json(self._imported, dict(record))

  def imported(self) -> dict[str, Any]:
    """The files that states were imported from; empty if all were trained.

    Raises:
      UserError: the file is damaged.
    """
    if not self._imported.exists():
      return {}
    return files.read_json(self._imported, _REMEDY)

  def imported_text(self) -> str:
    """Identifies what was imported; empty where nothing was."""
    record = self.imported()
    return json.dumps(record, sort_keys=True) if record else ""

  def starts(self) -> list[dict[str, Any]]:
    """Descriptions of every start of the training, in order.

    Empty where there is no record, as in a folder that was never trained in.

    Raises:
      UserError: the record is damaged.
    """
    return self._record()["starts"] if self._run.exists() else []

  def data(self) -> dict[str, Any]:
    """The "fingerprint" and "counts" of every data set, by its name.

    Raises:
      UserError: they were not recorded, or the record is damaged.
    """
    return self._record()["data"]

  def _version(self) -> str:
    """The version that trained last, as far as it was recorded."""
    try:
      last = self._record()["starts"][-1]
      version, commit = last["versions"]["medad_jax"], last["commit"]
    except (UserError, LookupError, TypeError):
      return "(unknown version)"
    return f"{version} (commit {commit[:10]})" if commit else version

  def _record(self) -> dict[str, Any]:
    if not self._run.exists():
      raise UserError(
        f"{self.path} has no run.json, which says what it was trained on: an"
        " earlier version of medad_jax made it, or it was removed; train in"
        " another --workdir."
      )
    found = files.read_json(self._run, _REMEDY)
    data, starts = found.get("data"), found.get("starts")
    if not (isinstance(data, dict) and isinstance(starts, list)):
      raise UserError(f"{self._run} lacks data or starts; {_REMEDY}.")
    return found

  def _lock(self) -> IO[str] | None:
    """The open file that holds the lock; None where there are no locks."""
    path = self.path / ".lock"
    try:
      self.path.mkdir(parents=True, exist_ok=True)
      # Not "w", which would erase who holds the lock.
      file = path.open("a+")
    except OSError as error:
      raise files.unwritable(self.path, error) from error
    until = time.monotonic() + _WAIT_SECONDS
    while True:
      try:
        # The system drops it with the process; a marker file would stay.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
      except BlockingIOError:
        holder = _holder(file)
        # On one machine the lock dies with its process, at once.
        here = holder.get("host") == platform.node()
        if here or time.monotonic() > until:
          file.close()
          raise UserError(_in_use(self.path, holder)) from None
        time.sleep(1.0)
      except OSError as error:
        file.close()
        # Some network file systems have none; a run must work there, too.
        if error.errno in _NO_LOCKS:
          return None
        raise files.unwritable(self.path, error) from error
    _sign(file)
    return file


_REMEDY = (
  "restore it from a copy, or train in another --workdir (the checkpoints are"
  " untouched)"
)


def tell_lacking(path: Path, lacking: Iterable[fields.Field]) -> None:
  """Says once which fields a saved configuration took from the defaults."""
  taken = [f"{field.name}={field.default!r}" for field in lacking]
  if taken and processes.first():
    _say(f"{path} is older than {_named(taken)}, which are the defaults.")


def check_same(
  old: configuration.Config, new: configuration.Config, holder: str
) -> None:
  """Raises UserError if fields differ that decide what is found.

  Args:
    old: the folder's configuration, whole.
    new: the wanted one.
    holder: what has the old one, such as "runs/mine holds a run".
  """
  before, after = configuration.decisive(old), configuration.decisive(new)
  differ = [
    f"{name} ({before.get(name)} there, {after.get(name)} now)"
    for name in sorted(before.keys() | after.keys())
    if before.get(name) != after.get(name)
  ]
  if differ:
    raise UserError(
      f"{holder} of another configuration, which differs in"
      f" {_named(differ)}; use the same values or another --workdir."
    )


@functools.cache
def _say(text: str) -> None:
  """Prints a note once, however often a command reads the folder."""
  print(f"medad_jax: {text}", file=sys.stderr, flush=True)


def _named(offenders: list[str]) -> str:
  """Some of them, and how many more there are."""
  more = len(offenders) - _SHOWN
  shown = ", ".join(offenders[:_SHOWN])
  return f"{shown} and {more} more" if more > 0 else shown


def _other_counts(then: Mapping[str, int], now: Mapping[str, int]) -> str:
  found = [
    f"{split}: {then.get(split, 0):,} images there, {now.get(split, 0):,} now"
    for split in {**then, **now}
    if then.get(split, 0) != now.get(split, 0)
  ]
  return "; ".join(found) or "as many images, but others"


def _sign(file: IO[str]) -> None:
  """Says in the lock file who holds it; the lock does not depend on it."""
  with contextlib.suppress(OSError):
    file.truncate(0)
    holder = {
      "host": platform.node(),
      "process": os.getpid(),
      "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    file.write(json.dumps(holder))
    file.flush()


def _holder(file: IO[str]) -> dict[str, Any]:
  """The holder of the lock, as far as it can be read."""
  file.seek(0)
  try:
    found = json.loads(file.read())
  except (OSError, ValueError):
    return {}
  return found if isinstance(found, dict) else {}


def _in_use(path: Path, holder: Mapping[str, Any]) -> str:
  by = (
    f"process {holder['process']} on {holder['host']} since {holder['since']}"
    if {"process", "host", "since"} <= holder.keys()
    else "another process"
  )
  return (
    f"{path} is in use by {by}; wait for it to end, or give another --workdir."
  )
