"""DDAD-ASR on Brain Tumor (MRI).

  python -m medad_jax.main --config=configs/brain_ddad.py
  python -m medad_jax.main --config=configs/brain_ddad.py:aeu

No published table could be had; see docs/results.md for what was measured.
"""

from configs import _ddad


def get_config(backbone: str = "ae"):
  config = _ddad.published(backbone, "brain")
  config.data.extra = 1000
  config.data.anomaly_ratio = 0.6
  return config
