"""A DDAD-ASR small enough to compile in seconds, and images for it."""

import jax
import numpy as np

from medad_jax.data import index, resident
from medad_jax.engine import members, writers
from medad_jax.engine.devices import Devices
from medad_jax.engine.run import Run
from medad_jax.methods import ae, ddad, patchcore
from medad_jax.training import Length, Optimizer
from medad_jax.types import NORMAL

SHAPE = (16, 16, 1)
TRIALS = members.seeds(0, 1)
COUNTS = {"train": 24, "unlabelled_normal": 8, "unlabelled_abnormal": 8}


def method(size: int = 2, epochs: int = 2, refine_epochs: int = 1):
  """K + K tiny autoencoders: 5 UDM and 3 NDM steps an epoch, then 6."""
  return ddad.Method(
    backbone=ae.Method(width=4, latent=3, hidden=8),
    ensemble=ddad.Ensemble(size),
    unlabelled=ddad.Unlabelled(extra=16, anomaly_ratio=0.5),
    length=Length(epochs, 8),
    optimizer=Optimizer(learning_rate=1e-3, b1=0.5),
    refine=ddad.Refine(
      ("dual",), 4, Length(refine_epochs, 4), Optimizer(learning_rate=1e-3)
    ),
  )


def images(
  count: int = sum(COUNTS.values()), seed: int = 0, shape=SHAPE
) -> np.ndarray:
  """uint8 [count, *shape]: smooth and all different."""
  rng = np.random.RandomState(seed)
  side, _, channels = shape
  coarse = rng.randint(0, 256, (count, 4, 4, channels)).astype(np.float32)
  smooth = coarse.repeat(side // 4, 1).repeat(side // 4, 2)
  return np.clip(smooth + rng.normal(0, 9, (count, *shape)), 0, 255).astype(
    np.uint8
  )


def pools() -> dict[str, np.ndarray]:
  unlabelled = ddad.Unlabelled(extra=16, anomaly_ratio=0.5).pool()
  wanted = (NORMAL, unlabelled, patchcore.BANK, patchcore.HELD_OUT)
  return index.fold(wanted, index.make_pools(wanted, COUNTS))


def devices(member: int = 1, batch: int = 1, mode: str = "jit"):
  """Some of the simulated devices, as a user would ask for them."""
  return Devices(tuple(jax.devices()), mode, member, batch)


def feed(shape=SHAPE) -> resident.Resident:
  return resident.Resident(images(shape=shape))


def run(workdir, feed, **options) -> Run:
  """What the phases of a small run share."""
  settings = {
    "log": writers.Writers(workdir),
    "pools": pools(),
    "shape": feed.images.shape[1:],
    "trials": TRIALS,
    "devices": devices(),
    "steps_per_call": 2,
    "checkpoint_seconds": 0.0,
  }
  return Run(workdir=workdir, feed=feed, **(settings | options))
