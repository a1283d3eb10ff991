"""DDAD-ASR on RSNA Pneumonia (chest X-rays).

  python -m medad_jax.main --config=configs/rsna_ddad.py
  python -m medad_jax.main --config=configs/rsna_ddad.py:aeu

Published (ae), AUROC: rec 0.669, intra 0.694, inter 0.815.
"""

from configs import _ddad


def get_config(backbone: str = "ae"):
  return _ddad.published(backbone, "rsna", extra=4000)
