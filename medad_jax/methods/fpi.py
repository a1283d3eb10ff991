"""FPI: patches of another image, mixed in.

Paper: Tan et al., "Detecting Outliers with Foreign Patch Interpolation", MELBA
2022, arXiv 2011.04197, as in MedIAnomaly (Cai et al., Medical Image Analysis
2025, arXiv 2404.04518). Scored: the mean of the predicted factor of mixing. See
`_one_stage` for what is as in its official code and what is not.
"""

import dataclasses

from medad_jax.augment.nsa import synthesis
from medad_jax.methods import _one_stage


@dataclasses.dataclass(frozen=True)
class Method(_one_stage.OneStage):
  """Hyper-parameters of FPI."""

  recipe: synthesis.Recipe = synthesis.FPI
