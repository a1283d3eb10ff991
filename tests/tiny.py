"""A DDAD-ASR small enough to compile in seconds, and images for it."""

import numpy as np

from medad_jax.data import index, resident
from medad_jax.methods import ae, ddad
from medad_jax.types import Training

SHAPE = (16, 16, 1)
COUNTS = {"train": 24, "unlabelled_normal": 8, "unlabelled_abnormal": 8}


def method(size: int = 2, epochs: int = 2, refine_epochs: int = 1):
  """K + K tiny autoencoders: 5 UDM and 3 NDM steps an epoch, then 6."""
  return ddad.Method(
    backbone=ae.Method(width=4, latent=3, hidden=8),
    ensemble=ddad.Ensemble(size),
    training=Training(epochs, 8, 1e-3, b1=0.5),
    refine=ddad.Refine(("dual",), 4, Training(refine_epochs, 4, 1e-3)),
  )


def images(count: int = sum(COUNTS.values()), seed: int = 0) -> np.ndarray:
  """uint8 [count, 16, 16, 1]: smooth and all different."""
  rng = np.random.RandomState(seed)
  coarse = rng.randint(0, 256, (count, 4, 4, 1)).astype(np.float32)
  smooth = coarse.repeat(4, 1).repeat(4, 2)
  return np.clip(smooth + rng.normal(0, 9, (count, *SHAPE)), 0, 255).astype(
    np.uint8
  )


def pools() -> dict[str, np.ndarray]:
  return index.make_pools(COUNTS, extra=16, anomaly_ratio=0.5)


def feed() -> resident.Resident:
  return resident.Resident(images())
