"""DDAD-ASR on generated scans: a few minutes on two CPU cores.

  python -m medad_jax.main --config=configs/phantom_ddad.py

Small images, fewer members and epochs than published, a narrower refinement
net and higher learning rates: made to show the whole program, not to compare
methods.
"""

from configs import _ddad


def get_config(backbone: str = "ae"):
  config = _ddad.published(backbone, "phantom", extra=1500)
  config.data.image_size = 32
  config.ensemble.size = 2
  config.train.epochs = 30
  config.train.learning_rate = 1e-3
  config.refine.inputs = ("dual", "intra")
  config.refine.width = 32
  config.refine.epochs = 4
  config.refine.learning_rate = 1e-3
  return config
