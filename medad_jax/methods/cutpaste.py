"""CutPaste, one stage: patches of the image itself, pasted elsewhere.

Paper: Li et al., CVPR 2021, arXiv 2104.04015, as in MedIAnomaly (Cai et al.,
Medical Image Analysis 2025, arXiv 2404.04518), which segments the patches.
Scored: the mean of the predicted map. See `_one_stage` for what is as in its
official code and what is not.
"""

import dataclasses

from medad_jax.augment.nsa import synthesis
from medad_jax.methods import _one_stage


@dataclasses.dataclass(frozen=True)
class Method(_one_stage.OneStage):
  """Hyper-parameters of one-stage CutPaste."""

  recipe: synthesis.Recipe = synthesis.CUTPASTE
