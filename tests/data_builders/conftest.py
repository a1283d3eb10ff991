"""What tests of builders share."""

import types

import pytest

from data_builders import dpa_lists
from data_builders.camelyon16 import recipe, tasks
from medad_jax.data.phantom import slices
from tests.data_builders import slides, sources


@pytest.fixture(autouse=True)
def few_scans(monkeypatch):
  """The generated set in seconds; its source has COUNTS as all others."""
  monkeypatch.setattr(slices, "COUNTS", sources.COUNTS)


@pytest.fixture(autouse=True)
def few_radiographs(monkeypatch):
  """Lists of NIH's images, and of patches, that a test can make."""
  lists = {"camelyon16": slides.LISTS}
  monkeypatch.setattr(
    dpa_lists, "split", lambda name: lists.get(name, sources.NIH)
  )


@pytest.fixture(autouse=True)
def small_slides(monkeypatch):
  """Patches of 48 pixels, cut in this process: others would start anew."""
  monkeypatch.setattr(recipe, "PUBLISHED", slides.SMALL)
  here = types.SimpleNamespace(
    run=lambda work, jobs: (work(*job) for job in jobs)
  )
  monkeypatch.setattr(tasks, "workers", here)
