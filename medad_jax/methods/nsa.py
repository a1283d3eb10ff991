"""NSA: patches of another image, resized, moved and blended in seamlessly.

Paper: Schlüter et al., "Natural Synthetic Anomalies", ECCV 2022, arXiv
2109.15222, as in MedIAnomaly (Cai et al., Medical Image Analysis 2025, arXiv
2404.04518). Scored: the mean of the predicted map, whose label is a logistic
function of the change in gray values. `recipe.label` and `recipe.mixed` have
the paper's other labels and gradients; raw ones train with the squared error.
See `_one_stage` for what is as in its official code and what is not.
"""

import dataclasses

from medad_jax.augment.nsa import synthesis
from medad_jax.methods import _one_stage


@dataclasses.dataclass(frozen=True)
class Method(_one_stage.OneStage):
  """Hyper-parameters of NSA."""

  recipe: synthesis.Recipe = synthesis.NSA
