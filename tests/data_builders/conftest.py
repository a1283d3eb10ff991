"""What tests of builders share."""

import pytest

from data_builders.phantom.builder import Builder as Phantom
from tests.data_builders import sources


@pytest.fixture(autouse=True)
def few_scans(monkeypatch):
  """The generated set in seconds; its source has COUNTS as all others."""
  monkeypatch.setattr(Phantom, "COUNTS", sources.COUNTS)
