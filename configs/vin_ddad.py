"""DDAD-ASR on VinDr-CXR (chest X-rays).

  python -m medad_jax.main --config=configs/vin_ddad.py
  python -m medad_jax.main --config=configs/vin_ddad.py:aeu

Published elsewhere (ae), AUROC: rec 0.555, intra 0.601, inter 0.710.
"""

from configs import _ddad


def get_config(backbone: str = "ae"):
  config = _ddad.published(backbone, "vin")
  config.data.extra = 4000
  config.data.anomaly_ratio = 0.6
  return config
