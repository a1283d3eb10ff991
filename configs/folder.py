"""A folder of normal images, without labels.

  python -m medad_jax.main --config=configs/folder.py \
      --config.data.normal=normals --workdir=W
  python -m medad_jax.predict --workdir=W --images=new --out=OUT

The argument is a method, by default `patchcore`, which fits frozen features in
a minute or two: `configs/folder.py:dae` trains a denoising autoencoder. A fifth
of the images is held out, for a threshold with at most 5 % false alarms.

`configs/folder.py:ddad` also learns from images that nobody knows anything of:
`--config.data.unlabelled=DIR`. `ra` and `dpa` need nets that judge images
(`python -m medad_jax.weights NAME`). A CSV file may list the images instead of
folders: `--config.data.manifest=FILE`.
"""

from ml_collections import ConfigDict, config_dict

from configs import _base, ra


def get_config(method: str = "patchcore") -> ConfigDict:
  config = _base.default(method.replace("-", "_"), "folder")
  config.validation.share = 0.2
  if method == "patchcore":
    config.data.image_size = 224
    config.evaluation.batch_size = 32
  elif method == "ddad":
    # Nobody counted the abnormal ones among these images.
    config.data.anomaly_ratio = config_dict.placeholder(float)
  elif method == "dae":
    # As published. The U-Net's gradient takes some 70 MB an image of 64x64: the
    # usual batch of 64 made it a process of 7 GB.
    config.train.batch_size = 16
    config.evaluation.batch_size = 16
  elif method == "ra":
    ra.published(config)
  return config
