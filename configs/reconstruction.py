"""MedIAnomaly's reconstruction methods on its benchmarks (arXiv 2404.04518).

  python -m medad_jax.main --config=configs/reconstruction.py:brain/ae
  python -m medad_jax.main --config=configs/reconstruction.py:brats/dae

The argument is DATASET/METHOD. Methods that differ only in the score share one
training: `ae-grad` is `ae` with another headline, and with the workdir of a
finished `ae` run nothing is trained again. A method that is not the benchmark's
has its own defaults.
"""

from ml_collections import ConfigDict

from configs import _base

# Method of medad_jax.methods, and the score that comes last.
METHODS = {
  "ae": ("ae", "rec"),
  "ae-l1": ("ae_l1", None),
  "ae-ssim": ("ae_ssim", None),
  "ae-perceptual": ("ae_perceptual", None),
  "ae-spatial": ("ae_spatial", None),
  "vae": ("vae", "rec"),
  "constrained-ae": ("constrained_ae", None),
  "memae": ("memae", None),
  "ceae": ("ceae", None),
  "ganomaly": ("ganomaly", None),
  "aeu": ("aeu", None),
  "dae": ("dae", None),
  "ae-grad": ("ae", "grad_rec"),
  "vae-elbo": ("vae", "grad_elbo"),
  "vae-kl": ("vae", "grad_kl"),
  "vae-rec": ("vae", "grad_rec"),
  "vae-combi": ("vae", "combi"),
}
RGB = ("c16",)  # the authors read all others in grey, ISIC 2018 too
EPOCHS = {"brain": 600, "phantom": 40}  # the others 250
FOREGROUND = ("brain", "brats", "lgg", "phantom")  # noise spares the background


def get_config(argument: str = "phantom/ae") -> ConfigDict:
  dataset, _, name = argument.partition("/")
  name = name.replace("_", "-")
  if name not in METHODS:
    return _base.default(name.replace("-", "_"), dataset)
  method, headline = METHODS[name]
  config = _base.default(method, dataset)
  config.data.channels = 3 if dataset in RGB else 1
  config.train.epochs = EPOCHS.get(dataset, 250)
  config.train.drop_last = False
  config.train.learning_rate = 1e-3
  config.train.b1 = 0.9
  if "hidden" in config.model:
    config.model.hidden = 1024
  if headline is not None:
    config.model.headline = headline
  if method == "memae":
    config.model.threshold = 0.0025
  if method == "dae":
    config.data.image_size = 128
    config.train.batch_size = 16
    config.model.foreground = dataset in FOREGROUND
  return config
