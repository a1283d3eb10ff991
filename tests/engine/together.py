"""A tiny DDAD, trained and scored as one of several processes.

  MODULE=tests.engine.together launch/local.sh 2 --workdir=DIR

The first process leaves what all of them found in DIR/found.npz.
"""

import functools
import os
from pathlib import Path
import signal

from absl import flags
import jax
import numpy as np

from medad_jax.data import stream
from medad_jax.engine import (
  checkpoint,
  cli,
  fit,
  processes,
  scorer,
  train,
  writers,
)
from medad_jax.engine.devices import Devices
from medad_jax.engine.workdir import Workdir
from medad_jax.scoring import neighbors
from tests import tiny

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
KILLED = flags.DEFINE_integer(
  "killed", None, "Saves after which the last process is killed."
)


def find(
  workdir: Path, checkpoint_seconds: float = 1e9
) -> dict[str, np.ndarray]:
  """Parameters, scores and a coreset of a run on two devices, by name."""
  devices = Devices(tuple(jax.devices()[:2]), member=2, batch=1)
  settings = tiny.run(
    workdir,
    stream.Stream(tiny.images()),
    devices=devices,
    log=writers.Writers(workdir, processes.first()),
    checkpoint_seconds=checkpoint_seconds,
  )
  method = tiny.method()
  states = train.train(method.phases(), settings)
  settings.log.close()
  scores = scorer.Scorer(method, states, 8, devices).images(
    tiny.images(11, seed=2)
  )
  params = {k: (v.params, v.extra) for k, v in states.items()}
  leaves = jax.tree_util.tree_leaves_with_path(params)
  named = {jax.tree_util.keystr(path): np.asarray(x) for path, x in leaves}
  choose = functools.partial(neighbors.coreset, size=8)
  pixels = tiny.images(11).reshape(11, -1).astype(np.float32)
  rows, radius = fit.over(devices)(choose, pixels)
  return named | scores | {"coreset": rows, "radius": radius}


def kill_after(saves: int) -> None:
  """Makes the last process die in the middle of a phase."""
  save, left = checkpoint.Checkpoints.save, iter(range(saves))

  def save_and_die(self, step, state):
    save(self, step, state)
    if next(left, None) is None:
      os.kill(os.getpid(), signal.SIGKILL)

  checkpoint.Checkpoints.save = save_and_die


def main() -> None:
  """Reads the flags."""
  if KILLED.value and not processes.first():
    kill_after(KILLED.value)
  workdir = Path(WORKDIR.value)
  with Workdir(workdir).locked():  # by one of the processes
    found = find(workdir, 0.0 if KILLED.value else 1e9)
    if processes.first():
      np.savez(workdir / "found.npz", **found)


if __name__ == "__main__":
  cli.run(main, several=True)
