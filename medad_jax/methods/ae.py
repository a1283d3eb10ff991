"""AE: a plain convolutional autoencoder, the baseline of the others.

Paper: the backbone of DDAD-ASR, Cai et al., Medical Image Analysis 2023, arXiv
2210.04227, and of MedIAnomaly, Cai et al., Medical Image Analysis 2025, arXiv
2404.04518, which trains it with another hidden width, rate and batches. Scored:
  rec       the squared reconstruction error
  grad_rec  the absolute derivative of an image's mean error by its pixels
            (AE-Grad of MedIAnomaly; the same training)
As in the official code, the last weights are kept, nothing is augmented, and
derivatives are neither smoothed nor normalized.
"""

import dataclasses

import jax.numpy as jnp

from medad_jax import losses
from medad_jax.methods import _reconstruction


@dataclasses.dataclass(frozen=True)
class Method(_reconstruction.SeveralScores):
  """Hyper-parameters of AE."""

  OTHERS = ("grad_rec",)

  def predict(self, states, batch):
    """ "x_hat" and the map "grad_rec" [b h w]."""

    def error(image):
      x_hat = self.outputs(states["train"], image)["x_hat"]
      return losses.squared_error(x_hat, image)

    # In test mode, in which batch normalization does not mix images.
    gradient = _reconstruction.input_gradient(error, batch["image"])
    preds = super().predict(states, batch)
    # Absolute first: channels of opposite sign must not cancel.
    return {**preds, "grad_rec": jnp.mean(jnp.abs(gradient), -1)}
