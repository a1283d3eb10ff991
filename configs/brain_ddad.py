"""DDAD-ASR on Brain Tumor (MRI).

  python -m medad_jax.main --config=configs/brain_ddad.py
  python -m medad_jax.main --config=configs/brain_ddad.py:aeu

No published table could be had; see docs/results.md for what was measured.
"""

from configs import _ddad


def get_config(backbone: str = "ae"):
  return _ddad.published(backbone, "brain", extra=1000)
