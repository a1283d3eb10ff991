"""CutPaste, two stages: classify pasted patches, then fit a density.

Paper: Li et al., CVPR 2021, arXiv 2104.04015, as in MedIAnomaly (Cai et al.,
Medical Image Analysis 2025, arXiv 2404.04518). Scored: the Mahalanobis distance
of the features from those of the training images. See `_two_stage` for what is
as in its official code; which variant is its tables' CutPaste is not known.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from medad_jax import rng
from medad_jax.augment import cutpaste
from medad_jax.methods import _two_stage


def _patch(key, image, batch):
  del batch
  return cutpaste.patch(key, image)


def _scar(key, image, batch):
  del batch
  return cutpaste.scar(key, image)


def _either(key, image, batch):
  # Both are made and one is kept: vmap computes both branches anyway.
  first = jax.random.bernoulli(rng.stream(key, "either"))
  return jnp.where(first, _patch(key, image, batch), _scar(key, image, batch))


VARIANTS = {
  "normal": (_patch,),
  "scar": (_scar,),
  "union": (_either,),
  "3way": (_patch, _scar),
}


@dataclasses.dataclass(frozen=True)
class Method(_two_stage.TwoStage):
  """Hyper-parameters of two-stage CutPaste.

  Attributes:
    variant: "normal" (patches), "scar", "union" (one or the other) or "3way"
      (two classes of anomalies).
  """

  variant: Literal["normal", "scar", "union", "3way"] = "normal"

  def views(self):
    """The views of the chosen variant."""
    return VARIANTS[self.variant]
