"""DDAD-ASR on VinDr-CXR (chest X-rays).

  python -m medad_jax.main --config=configs/vin_ddad.py
  python -m medad_jax.main --config=configs/vin_ddad.py:aeu

Published elsewhere (ae), AUROC: rec 0.555, intra 0.601, inter 0.710.
"""

from configs import _ddad


def get_config(backbone: str = "ae"):
  return _ddad.published(backbone, "vin", extra=4000)
