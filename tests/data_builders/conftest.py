"""What tests of builders share."""

import pytest

from data_builders import dpa_lists
from medad_jax.data.phantom import slices
from tests.data_builders import sources


@pytest.fixture(autouse=True)
def few_scans(monkeypatch):
  """The generated set in seconds; its source has COUNTS as all others."""
  monkeypatch.setattr(slices, "COUNTS", sources.COUNTS)


@pytest.fixture(autouse=True)
def few_radiographs(monkeypatch):
  """Lists of NIH's images that a test can make."""
  monkeypatch.setattr(dpa_lists, "split", lambda name: sources.NIH)
