"""Fixtures for tests that train and evaluate whole runs."""

import pytest

from medad_jax.engine import experiment


@pytest.fixture(scope="module")
def undrawn():
  """Runs without their figures and page, which take seconds."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(experiment.draw, "draw", lambda *_: None)
    yield
