"""Codes of test images by class, for a picture of them."""

import numpy as np

from medad_jax.data import spec
from medad_jax.engine import synthetic
from medad_jax.engine.trained import Trained


def by_class(
  trained: Trained, test: spec.Split, codes: np.ndarray | None
) -> dict[str, np.ndarray]:
  """Latents [n d] of normal, abnormal and synthetic images, first seed only.

  The latents of all members are concatenated.

  Args:
    trained: what makes the synthetic images' latents.
    test: the images.
    codes: their latents [n s k z]; None where the method has none.

  Returns:
    Latents by class; empty where there are none.
  """
  # Every process takes part in scoring what is synthetic.
  made = synthetic.images(trained.method, test.images[test.labels == 0])
  extra = None if made is None else trained.score(made).latents
  if codes is None:
    return {}
  # [n k z] -> [n k*z].
  own = codes[:, 0].reshape(len(test), -1)
  found = {
    "normal": own[test.labels == 0],
    "abnormal": own[test.labels == 1],
  }
  if extra is not None:
    found["synthetic"] = extra[:, 0].reshape(len(extra), -1)
  return found
