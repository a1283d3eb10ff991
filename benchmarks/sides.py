"""Sides of a comparison, each in a process of its own, taking turns.

A side is a subclass of `Parts` in a module that only its own process imports:
neither thread pools nor memory of one framework weigh on the other.

A side is started three times. The first start reads the libraries from disk
and makes the trials; nothing of it is counted. The second begins with empty
caches of compiled programs, goes through the parts one after another, as a real
run does, and tells its peaks of memory. The third finds the caches full and
stays for the turns. In each turn every side does a piece of every phase, and
ratios are formed within turns; who begins changes from turn to turn.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
import contextlib
import importlib
import multiprocessing
import os
from pathlib import Path
import sys
import tempfile
import time
from typing import Any

from benchmarks.protocol import Part

Run = Callable[[int], int]  # amount -> units done
# "package.module:Class" and the arguments of the class but its options.
Target = tuple[str, Sequence[Any]]

# Both frameworks share a card: JAX must not take most of it at its start.
_ENVIRONMENT = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
_CACHES = {
  "JAX_COMPILATION_CACHE_DIR": "jax",
  "TORCHINDUCTOR_CACHE_DIR": "torch",
}


class Side:
  """A process that holds one side.

  Args:
    target: "package.module:Class".
    settings: arguments of the class.
    caches: folder of compiled programs.
  """

  def __init__(self, target: str, settings: Sequence[Any], caches: Path):
    # An executor, because its process is no daemon: a data loader starts
    # processes, too. Spawned, because a fork would copy the parent's threads.
    context = multiprocessing.get_context("spawn")
    self._pool = futures.ProcessPoolExecutor(1, context)
    folders = {name: str(caches / part) for name, part in _CACHES.items()}
    with _environment(_ENVIRONMENT | folders):
      self._made = self._pool.submit(_make, target, tuple(settings))

  def call(self, method: str, *args: Any) -> Any:
    """Calls a method of the side; raises what it raises."""
    self._made.result()
    return self._pool.submit(_call, method, args).result()

  def __enter__(self) -> "Side":
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def close(self) -> None:
    """Ends the process."""
    # One that has crashed cannot be asked to.
    with contextlib.suppress(futures.BrokenExecutor):
      self._pool.submit(_call, "close", ())
    self._pool.shutdown()


class Racer:
  """One side through its three starts.

  Attributes:
    name: the side's.
    notes: what its trials found.
    about: the machine as the side sees it.
    backend: "cpu", "gpu" or "tpu".
    parts: what it does, all phases.
    seconds: from a process's start to the first unit of the first part, and of
      every part: "first step, cold cache" and so on.
    memory: peaks of a process that goes through the parts one by one.
  """

  def __init__(
    self, name: str, target: str, settings: Sequence[Any], folder: Path
  ):
    self.name, self._target = name, target
    self.seconds: dict[str, float] = {}
    say(f"{name}: first start, with trials")
    with self._start((*settings, {}), folder / "trial") as side:
      options, self.notes = side.call("choose")
      self.about, self.backend = side.call("about")
    settings = (*settings, options)
    say(f"{name}: start with empty caches")
    with self._start(settings, folder / "kept") as side:
      self._enter(side, "cold", keep=False)
      # Here, because the parts that stay for the turns lie side by side.
      self.memory = side.call("memory")
    say(f"{name}: start with full caches")
    self.side = self._start(settings, folder / "kept")
    self._enter(self.side, "warm", keep=True)

  def run(self, part: Part, amount: int) -> tuple[int, float]:
    """Does a piece: units and seconds."""
    return self.side.call("run", part, amount)

  def _start(self, settings: Sequence[Any], caches: Path) -> Side:
    self._began = time.perf_counter()
    return Side(self._target, settings, caches)

  def _enter(self, side: Side, cache: str, keep: bool) -> None:
    """Goes through all parts and notes when the first and the last began."""
    self.parts: list[Part] = side.call("parts")
    for number, part in enumerate(self.parts):
      side.call("visit", part, keep)
      passed = time.perf_counter() - self._began
      if number == 0:
        self.seconds[f"first step, {cache} cache"] = passed
    self.seconds[f"start-up, {cache} cache"] = passed


class Times:
  """Times of the turns.

  Attributes:
    units: by side and part: units done in all turns, which counted.
    seconds: by side and part: seconds a unit, turn by turn.
  """

  def __init__(self, racers: Sequence[Racer]):
    self.units = {r.name: dict.fromkeys(r.parts, 0) for r in racers}
    self.seconds: dict[str, dict[Part, list[float]]] = {
      r.name: {part: [] for part in r.parts} for r in racers
    }

  def add(self, name: str, part: Part, units: int, seconds: float) -> None:
    """A piece."""
    self.units[name][part] += units
    self.seconds[name][part].append(seconds / units)

  def of_phase(self, name: str, phase: str) -> list[float]:
    """Seconds of the whole phase as each turn has it."""
    found = {p: s for p, s in self.seconds[name].items() if p.phase == phase}
    return [
      sum(part.whole * a for part, a in zip(found, turn, strict=True))
      for turn in zip(*found.values(), strict=True)
    ]


@contextlib.contextmanager
def racing(
  targets: Mapping[str, Target],
) -> Iterator[list[Racer]]:
  """The sides, ready for their turns; their processes end with the block.

  Args:
    targets: by name, "package.module:Class" and the settings of the class; the
      class is given one more, the options that its `choose` decided.
  """
  racers: list[Racer] = []
  with tempfile.TemporaryDirectory() as folder:
    try:
      for name, (target, settings) in targets.items():
        racers.append(Racer(name, target, settings, Path(folder)))
      yield racers
    finally:
      for racer in racers:
        racer.side.close()


def take_turns(
  racers: Sequence[Racer],
  amounts: Mapping[str, int] | None,
  repeats: int,
) -> Times:
  """Runs every side's pieces in turns.

  Args:
    racers: the sides.
    amounts: units of a piece by the part's unit; None for whole parts.
    repeats: turns that count. One before them does not, unless parts are whole.
  """
  times = Times(racers)
  phases = list(dict.fromkeys(part.phase for part in racers[0].parts))
  for turn in range(0 if amounts else 1, repeats + 1):
    say(f"turn {turn} of {repeats}")
    first = turn % len(racers)
    for phase in phases:
      for racer in [*racers[first:], *racers[:first]]:
        for part in (p for p in racer.parts if p.phase == phase):
          amount = (
            min(amounts[part.unit], part.whole) if amounts else part.whole
          )
          piece = racer.run(part, amount)
          if turn:
            times.add(racer.name, part, *piece)
  return times


class Parts:
  """A side in its process: its parts are made, kept and run."""

  def __init__(self):
    self._kept: dict[Part, Run] = {}

  def about(self) -> tuple[str, str]:
    """The machine and the versions in a line; "cpu", "gpu" or "tpu"."""
    raise NotImplementedError

  def parts(self) -> list[Part]:
    """Everything that the side does."""
    raise NotImplementedError

  def memory(self) -> dict[str, int | None]:
    """Peaks in bytes, of "host" and "device"; None where unknown."""
    raise NotImplementedError

  def choose(self) -> tuple[dict[str, Any], list[str]]:
    """Options for later starts, by a short trial, and lines to print."""
    return {}, []

  def visit(self, part: Part, keep: bool) -> None:
    """Makes a part ready and does its first unit."""
    run = self._make(part)
    run(1)
    self.wait()
    if keep:
      self._kept[part] = run

  def run(self, part: Part, amount: int) -> tuple[int, float]:
    """Does at least `amount` units; how many, and the seconds."""
    start = time.perf_counter()
    done = self._kept[part](amount)
    self.wait()
    return done, time.perf_counter() - start

  def wait(self) -> None:
    """Waits until the device has done what it was given."""

  def close(self) -> None:
    """Ends all parts, and with them the data loaders' processes."""
    self._kept.clear()

  def _make(self, part: Part) -> Run:
    """A part, compiled when it first runs."""
    raise NotImplementedError


def peak_host() -> int:
  """The most memory that this process has held, in bytes."""
  # Not `ru_maxrss`, which begins with what the parent held at the start.
  with open("/proc/self/status") as lines:
    line = next(line for line in lines if line.startswith("VmHWM"))
  return int(line.split()[1]) * 1024


def say(text: str) -> None:
  """Tells of progress, apart from the results."""
  print(text, file=sys.stderr, flush=True)


_side: list[Any] = []  # the one of this process


def _make(target: str, settings: tuple[Any, ...]) -> None:
  """Makes the side in its process."""
  module, name = target.split(":")
  _side.append(getattr(importlib.import_module(module), name)(*settings))


def _call(method: str, args: tuple[Any, ...]) -> Any:
  """Calls a method of the side in its process."""
  return getattr(_side[0], method)(*args)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
  """Sets the environment that a new process inherits."""
  before = dict(os.environ)
  os.environ.update(values)
  try:
    yield
  finally:
    os.environ.clear()
    os.environ.update(before)
