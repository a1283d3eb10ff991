"""DDAD-ASR on RSNA Pneumonia (chest X-rays).

  python -m medad_jax.main --config=configs/rsna_ddad.py
  python -m medad_jax.main --config=configs/rsna_ddad.py:aeu

Published (ae), AUROC: rec 0.669, intra 0.694, inter 0.815.
"""

from configs import _ddad


def get_config(backbone: str = "ae"):
  config = _ddad.published(backbone, "rsna")
  config.data.extra = 4000
  config.data.anomaly_ratio = 0.6
  return config
