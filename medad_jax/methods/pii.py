"""PII: patches of another image, blended in by their gradients.

Paper: Tan et al., "Detecting Outliers with Poisson Image Interpolation", MICCAI
2021, arXiv 2107.02622, as in MedIAnomaly (Cai et al., Medical Image Analysis
2025, arXiv 2404.04518). Scored: the mean of the predicted factor of blending.
See `_one_stage` for what is as in its official code and what is not.
"""

import dataclasses

from medad_jax.augment.nsa import synthesis
from medad_jax.methods import _one_stage


@dataclasses.dataclass(frozen=True)
class Method(_one_stage.OneStage):
  """Hyper-parameters of PII."""

  recipe: synthesis.Recipe = synthesis.PII
