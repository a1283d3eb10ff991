"""AnatPaste: classify patches that are pasted where the organ is.

Paper: Sato et al., "Anatomy-aware self-supervised learning for anomaly
detection in chest radiographs", iScience 2023, arXiv 2205.04282, as in
MedIAnomaly (Cai et al., Medical Image Analysis 2025, arXiv 2404.04518). Scored:
the Mahalanobis distance of the features from those of the training images. See
`_two_stage` for what is as in its official code. The organ's mask is found once
an image, without color jitter; the official code finds it in every jittered
view. On real images the two masks overlap by 0.91 to 0.95 (mean IoU). A
validation, whose images are held out, pastes anywhere.
"""

import dataclasses

import jax.numpy as jnp

from medad_jax import types
from medad_jax.augment import anatomy
from medad_jax.augment.anatpaste import anatpaste
from medad_jax.methods import _two_stage


@dataclasses.dataclass(frozen=True)
class Method(_two_stage.TwoStage):
  """Hyper-parameters of AnatPaste."""

  def phases(self):
    """ "train" with the images' anatomy, then "density"."""
    train, fitted = super().phases()
    # On the host, once a run: scikit-image cannot run inside a step.
    inputs = types.Inputs(prepare=prepare)
    return dataclasses.replace(train, inputs=inputs), fitted

  def views(self):
    """One: a patch in the organ."""
    return (paste,)


def prepare(images):
  """Masks of the organ, from uint8 images [n h w c]."""
  return {"anatomy": anatomy.masks(images)}


def paste(key, image, batch):
  """A patch in the organ, or anywhere where it is not known."""
  everywhere = jnp.ones(image.shape[:2], bool)
  # Held-out images come without a prepared mask.
  return anatpaste(key, image, batch.get("anatomy", everywhere))
