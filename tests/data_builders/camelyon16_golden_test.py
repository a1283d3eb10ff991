"""Camelyon16's steps beside the reference's, made by its libraries of 2019."""

import json
from pathlib import Path

import numpy as np
import pytest

from data_builders.camelyon16 import (
  annotation,
  magnification,
  stain,
  tissue,
  tumor_mask,
)
from data_builders.camelyon16.patch_lists import Patch
from tests.data_builders import slides

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(scope="module")
def places():
  with np.load(GOLDEN / "cam_preprocess.npz") as file:
    return dict(file)


@pytest.fixture(scope="module")
def stains():
  with np.load(GOLDEN / "cam_stain.npz") as file:
    return dict(file)


@pytest.fixture
def polygons(places, tmp_path):
  path = tmp_path / "tumor_001.xml"
  path.write_text(str(places["xml"]))
  return annotation.read(path)


def overview(gray):
  """The image [h w 3] that the golden file has the red channel of."""
  gray = gray.astype(int)
  rgb = np.stack([gray, 3 * gray // 4, (gray + 128) // 2], -1)
  return rgb.astype(np.uint8)


def test_polygons_are_those_of_the_reference(places, polygons):
  tree = json.loads(str(places["json"]))
  for group, found in (("tumor", polygons.tumor), ("normal", polygons.holes)):
    expected = [(one["name"], one["vertices"]) for one in tree[group]]
    assert [(x.name, list(map(list, x.vertices))) for x in found] == expected


def test_a_mask_is_drawn_at_full_size(places, polygons):
  width, height = json.loads(str(places["config"]))["slide"]
  annotation.check_inside(polygons, width, height)
  found = tumor_mask.draw(polygons, (width, height), (32, 24))
  np.testing.assert_array_equal(found, places["mask_level8"])


@pytest.mark.parametrize("name", ["small", "tall"])
def test_patches_are_where_the_reference_draws_them(places, name):
  found = tissue.cells(overview(places[f"{name}_in"]))
  np.testing.assert_array_equal(found, places[f"{name}_cells"] == 1)
  seed = json.loads(str(places["config"]))["shuffle_seed"]
  drawn = tissue.draw(found, np.random.RandomState(seed))
  np.testing.assert_array_equal(
    np.array(drawn)[:, ::-1], places[f"{name}_picked_w_h"]
  )
  names = [
    Patch("normal_001", "normal", 768 * row, 768 * column, 768).name
    for row, column in drawn
  ]
  expected = json.loads(str(places[f"{name}_patch_names"]))
  assert names[: len(expected)] == expected


@pytest.mark.parametrize("name", ["small", "tall"])
def test_tumor_patches_are_tumor_all_over(places, name):
  means = places[f"{name}_annotation_cells"]
  mask = np.kron(means, np.ones((3, 3), np.uint8))
  found = tissue.tumor_cells(places[f"{name}_cells"] == 1, mask)
  np.testing.assert_array_equal(found, places[f"{name}_tumor_cells"])


def test_a_block_of_the_mean_of_tumor_is_tumor():
  mask = np.full((3, 3), tumor_mask.TUMOR, np.uint8)
  tissue_there = np.ones((1, 1), bool)
  mask[0, 0] = tumor_mask.TUMOR + 8
  assert tissue.tumor_cells(tissue_there, mask).all()
  mask[0, 0] = 0
  assert not tissue.tumor_cells(tissue_there, mask).any()


@pytest.mark.parametrize("scale, factor", [("x20", 2), ("x10", 4)])
def test_patches_are_shrunk(places, scale, factor):
  found = magnification.shrunk(places["patch_in"], factor).astype(int)
  difference = np.abs(found - places[f"patch_{scale}"])
  # Halves go up or down by the last bit of a float.
  assert difference.max() <= 1
  assert (difference > 0).mean() < 0.12


@pytest.mark.parametrize("name", ["source", "target"])
def test_densities_of_stained_pixels(stains, name):
  image = stains[name]
  np.testing.assert_array_equal(
    stain.brightened(image), stains[f"{name}_bright"]
  )
  pixels = stain.pixels_of(image)
  packed = np.packbits(pixels.stained[pixels.places])
  np.testing.assert_array_equal(packed, stains[f"{name}_mask"])
  density = pixels.density.T[pixels.places]
  np.testing.assert_allclose(
    density.mean(0), stains[f"{name}_od_mean64"], atol=1e-12
  )
  stained = density[pixels.stained[pixels.places]]
  np.testing.assert_allclose(
    stained.mean(0), stains[f"{name}_od_masked_mean64"], atol=1e-12
  )


@pytest.mark.parametrize("name", ["source", "target"])
def test_the_dictionary_is_the_minimum(stains, name):
  pixels = stain.pixels_of(stains[name])
  found = stain.learn(pixels)
  np.testing.assert_allclose(
    found, stains[f"{name}_dictionary_converged64"], atol=1e-6
  )
  # No run of the reference gets lower.
  density = pixels.density[:, pixels.stained]
  codes = stain.dictionary.codes(density, found, stain.dictionary.SPARSITY)
  each = ((density - found.T @ codes) ** 2).sum(0) / 2 + 0.1 * codes.sum(0)
  reached = np.average(each, weights=pixels.counts[pixels.stained])
  assert reached <= stains[f"{name}_objective64"].min() + 1e-12


def test_concentrations_of_given_stains(stains):
  pixels = stain.pixels_of(stains["source"])
  found = stain.concentrations(pixels.density, stains["given_source64"])
  found = found.T[pixels.places].reshape(48, 48, 2)
  # The file has float32.
  np.testing.assert_allclose(found, stains["concentrations"], rtol=1e-6)
  np.testing.assert_allclose(
    found.mean((0, 1)), stains["concentrations_mean64"], atol=1e-8
  )


def test_an_image_gets_the_stains_of_the_target(stains, monkeypatch):
  given = stains["given_source64"]
  monkeypatch.setattr(stain, "learn", lambda pixels: given)
  found = stain.normalized(stains["source"], stains["given_target64"])
  np.testing.assert_array_equal(found, stains["normalised"])


def test_a_whole_normalization_is_near_a_run_of_the_reference(stains):
  target = stain.learn(stain.pixels_of(stains["target"]))
  found = stain.normalized(stains["source"], target).astype(int)
  assert np.abs(found - stains["normalised_full_run"]).max() <= 10


def test_stains_of_known_amounts_are_found():
  image = slides.stained(0, (96, 96))
  found = stain.learn(stain.pixels_of(image))
  assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1])
  # With its own stains an image is nearly what it was.
  again = stain.normalized(image, found).astype(int)
  assert np.abs(again - stain.brightened(image)).mean() < 5
