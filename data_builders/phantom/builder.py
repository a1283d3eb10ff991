"""The built-in data set: generated slices, no download."""

from collections.abc import Iterator, Mapping, Sequence
import concurrent.futures
import os
from pathlib import Path
import pickle
import subprocess
import sys

from data_builders import base

# Normal and abnormal images of each split, numbered in this order.
_COUNTS = {
  "train": (1500, 0),
  "unlabelled_normal": (600, 0),
  "unlabelled_abnormal": (0, 900),
  "test": (500, 500),
}
_CHUNK = 250  # images a process makes: two seconds, a tenth of it the start


class Builder(base.SetBuilder, skip_registration=True):
  """Axial T1-like slices of generated heads; abnormal means a lesion.

  Anatomy, coil shading, contrast and noise vary; lesions are of six kinds,
  sizes and contrasts, with exact masks. No image comes from a patient.
  """

  MASKS = True

  def find(self, source: Path) -> Mapping[str, list[base.Row]]:
    """Names that carry the scans' numbers; nothing is read."""
    del source
    splits, number = {}, 0
    for split, (normal, abnormal) in _COUNTS.items():
      labels = [0] * normal + [1] * abnormal
      splits[split] = [
        base.Row(f"scan_{number + i:05}.png", label)
        for i, label in enumerate(labels)
      ]
      number += len(labels)
    return splits

  def encode(self, rows: Sequence[base.Row]) -> Iterator[base.Encoded]:
    """Renders the rows in processes of their own."""
    jobs = [(_number(row), bool(row.label)) for row in rows]
    chunks = [jobs[i : i + _CHUNK] for i in range(0, len(jobs), _CHUNK)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      for encoded in pool.map(_render, chunks):
        yield from encoded


def _number(row: base.Row) -> int:
  return int(Path(row.name).stem.removeprefix("scan_"))


def _render(jobs: list[tuple[int, bool]]) -> list[base.Encoded]:
  # Not multiprocessing: this runs inside programs that have started jax, where
  # forking is unsafe, and spawning would run a caller's script once more.
  root = str(Path(__file__).parents[2])
  path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
  done = subprocess.run(
    [sys.executable, "-m", "data_builders.phantom.worker"],
    input=pickle.dumps(jobs),
    stdout=subprocess.PIPE,
    env=os.environ | {"PYTHONPATH": path},
    check=True,
  )
  return pickle.loads(done.stdout)
