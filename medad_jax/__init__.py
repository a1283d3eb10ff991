"""Anomaly detection for medical images in JAX and Flax."""

import importlib
from typing import Any

__version__ = "0.1.0"

# Found when they are asked for: the package itself imports nothing, so that a
# model file can hold it and a command starts at once.
_LATE = {
  "Detector": "medad_jax.detector",
  "fit": "medad_jax.engine.model",
  "load": "medad_jax.engine.model",
  "load_exported": "medad_jax.exported",
}


def __getattr__(name: str) -> Any:
  if name not in _LATE:
    raise AttributeError(f"module 'medad_jax' has no attribute '{name}'")
  return getattr(importlib.import_module(_LATE[name]), name)


def __dir__() -> list[str]:
  return sorted([*globals(), *_LATE])
