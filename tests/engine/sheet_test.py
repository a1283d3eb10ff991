"""Contact sheets of synthetic anomalies, and what cannot have one."""

import numpy as np
import pytest

from configs import ssl
from data_builders import build
from medad_jax.engine import sheet
from medad_jax.report import figures
from medad_jax.types import UserError
from tests.data_builders import sources


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp("data")
  source = sources.make("folder", folder / "source")
  build.build("folder", source=source, data_dir=folder, name="mine")
  return folder


@pytest.fixture
def drawn(monkeypatch):
  found = {}
  contact_sheet = figures.contact_sheet

  def keep(columns):
    found.update(columns)
    return contact_sheet(columns)

  monkeypatch.setattr(figures, "contact_sheet", keep)
  return found


def config(data_dir, method, size=64):
  found = ssl.get_config(f"mine/{method}").to_dict()
  found["data"] |= {"dir": str(data_dir), "image_size": size}
  return found


@pytest.mark.parametrize(
  ("method", "columns"),
  [
    ("fpi", ["image", "source", "with anomalies", "label", "change"]),
    ("cutpaste", ["image", "with anomalies", "label", "change"]),
    ("cutpaste-2s-3way", ["image", "class 0", "class 1", "class 2"]),
  ],
)
def test_a_sheet_shows_what_a_method_trains_on(
  data_dir, tmp_path, drawn, method, columns
):
  sheet.draw(config(data_dir, method), tmp_path, 2, 0)
  assert list(drawn) == columns
  for values in drawn.values():
    assert len(values) == 2 and np.isfinite(values).all()
  image = drawn["image"]
  assert 0 <= image.min() and image.max() <= 1


def test_another_seed_is_another_sheet(data_dir, tmp_path, drawn):
  found = []
  for seed in (0, 0, 1):
    sheet.draw(config(data_dir, "fpi"), tmp_path, 1, seed)
    found.append(drawn["with anomalies"])
  np.testing.assert_array_equal(found[0], found[1])
  assert not np.array_equal(found[0], found[2])


def test_a_sheet_is_a_picture(data_dir, tmp_path):
  path = sheet.draw(config(data_dir, "fpi"), tmp_path / "new" / "folder", 2, 0)
  assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
  ("method", "size", "says"),
  [
    ("resnet18-imagenet", 64, "makes no synthetic anomalies"),
    ("cutpaste", 16, "too small"),
    ("cutpaste-2s", 16, "32 or more"),
  ],
)
def test_what_cannot_be_drawn_is_said(data_dir, tmp_path, method, size, says):
  with pytest.raises(UserError, match=says):
    sheet.draw(config(data_dir, method, size), tmp_path, 1, 0)


def test_three_channels_are_refused(data_dir, tmp_path):
  colored = config(data_dir, "nsa")
  colored["data"]["channels"] = 3
  with pytest.raises(UserError, match="one channel"):
    sheet.draw(colored, tmp_path, 1, 0)
