"""A folder of normal images, without labels.

  python -m medad_jax.main --config=configs/folder.py \
      --config.data.normal=normals --workdir=W
  python -m medad_jax.predict --workdir=W --images=new --out=OUT

The argument is a method, by default `patchcore`, which fits frozen features in
a minute or two: `configs/folder.py:dae` trains a denoising autoencoder. A fifth
of the images is held out, for a threshold with at most 5 % false alarms.
"""

from ml_collections import ConfigDict

from configs import _base


def get_config(method: str = "patchcore") -> ConfigDict:
  config = _base.default(method.replace("-", "_"), "folder")
  config.validation.share = 0.2
  if method == "patchcore":
    config.data.image_size = 224
    config.evaluation.batch_size = 32
  return config
