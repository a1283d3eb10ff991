"""AE: a plain convolutional autoencoder, the baseline of the others.

Paper: the backbone of DDAD-ASR, Cai et al., Medical Image Analysis 2023, arXiv
2210.04227, and of MedIAnomaly, Cai et al., Medical Image Analysis 2025, arXiv
2404.04518, which trains it with another hidden width, rate and batches. Scored:
  rec       the squared reconstruction error
  grad_rec  the absolute derivative of an image's mean error by its pixels
            (AE-Grad of MedIAnomaly; the same training)
As the official code: last weights kept, nothing augmented, derivatives neither
smoothed nor normalized.
"""

import dataclasses

import jax.numpy as jnp

from medad_jax import losses, types
from medad_jax.methods import _reconstruction
from medad_jax.scoring import maps


@dataclasses.dataclass(frozen=True)
class Method(_reconstruction.Reconstruction):
  """Hyper-parameters of AE.

  Attributes:
    headline: the score that comes last, "rec" or "grad_rec".
  """

  headline: str = "rec"

  def __post_init__(self):
    _reconstruction.last(self.headline, self._names())

  @property
  def score_names(self):
    """Those of the module's docstring, and "rec_k" of several members."""
    return _reconstruction.last(self.headline, self._names())

  def _names(self):
    return (*super().score_names, "grad_rec")

  def predict(self, states, batch):
    """ "x_hat" and the map "grad_rec" [b h w]."""

    def error(image):
      x_hat = self.outputs(states["train"], image)["x_hat"]
      return losses.squared_error(x_hat, image)

    gradient = _reconstruction.input_gradient(error, batch["image"])
    preds = super().predict(states, batch)
    return {**preds, "grad_rec": jnp.mean(jnp.abs(gradient), -1)}

  def score(self, preds, batch, fitted):
    """All scores of the module's docstring."""
    scores = super().score(preds, batch, fitted)
    gradient = jnp.mean(preds["grad_rec"], 0)
    return types.Scores(
      {**scores.image, "grad_rec": maps.image_score(gradient)},
      {**scores.maps, "grad_rec": gradient},
      scores.reconstruction,
    )
