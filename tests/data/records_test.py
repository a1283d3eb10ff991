"""Images that stay encoded: the same rows, batches and run as decoded ones."""

import pickle

import numpy as np
import pytest

from data_builders import build
from medad_jax.data import decode, feeds, index, joined, spec, stream
from medad_jax.engine import config as configuration
from medad_jax.engine import material
from medad_jax.types import UserError
from tests import tiny
from tests.data_builders import sources

SIDE = 16


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  """A folder of data with one built set, `mine`."""
  folder = tmp_path_factory.mktemp("records")
  source = sources.make("folder", folder / "source")
  build.build("folder", source=source, data_dir=folder / "data", name="mine")
  return folder / "data"


def opened(root, decoded=False, name="mine"):
  return spec.open_dataset(
    name, root, image_size=SIDE, need=("train", "test"), decoded=decoded
  )


def test_rows_are_those_that_are_decoded_once(root):
  once, anew = (opened(root, decoded) for decoded in (True, False))
  assert anew.fingerprint == once.fingerprint
  train, known = anew.splits["train"], once.splits["train"]
  assert (train.names, train.columns) == (known.names, known.columns)
  np.testing.assert_array_equal(train.labels, known.labels)
  images, want = train.images, known.images
  assert (images.shape, images.dtype) == (want.shape, want.dtype)
  assert images.nbytes == want.nbytes
  for rows in (
    slice(1, 4),
    slice(None),
    np.array([[2, 0], [2, 3]]),
    np.arange(len(want)) % 2 == 0,
    np.array([], int),
    -1,
  ):
    np.testing.assert_array_equal(images[rows], want[rows])
  np.testing.assert_array_equal(np.asarray(images), want)
  np.testing.assert_array_equal(
    joined.center(images, 9)[2:4], joined.center(want, 9)[2:4]
  )
  again = pickle.loads(pickle.dumps(images))
  np.testing.assert_array_equal(again[[0]], want[[0]])
  # Test images are not read in every step.
  assert isinstance(anew.splits["test"].images, np.ndarray)


def test_the_places_are_listed_once(root, monkeypatch):
  opened(root)
  monkeypatch.setattr(decode, "read_places", None)
  assert len(opened(root).splits["train"].images[:2]) == 2


def test_batches_come_in_their_order_from_several_processes(root):
  once, anew = (
    opened(root, decoded).splits["train"].images for decoded in (True, False)
  )
  rows = np.arange(len(once))
  order = index.Order((rows, rows[1:]), ("a", "b"), (0, 1), 2)
  bounds = [(step, step + 1) for step in range(7)]

  def chunks(feed):
    # As one process of two asks, whose mesh gives it the second member.
    def part(members, size):
      return slice(1, members), slice(0, size)

    return list(feed.chunks(order, bounds, [0, 1], True, part))

  want = chunks(stream.Stream(once))
  found = chunks(feeds.choose(anew, "records", 0.0, workers=2))
  for ours, theirs in zip(found, want, strict=True):
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
      np.testing.assert_array_equal(ours[name], array)


def test_a_run_takes_them(root):
  """The batches above are its batches, whatever their feed."""
  made = configuration.defaults("ae")
  made["data"] |= {"name": "mine", "dir": str(root), "image_size": SIDE}
  made["data"] |= {"stored_size": SIDE + 4, "feed": "records"}
  found = material.prepare(
    configuration.settings_of(made),
    configuration.build_method(made).phases(),
    tiny.devices(),
  )
  assert isinstance(found.feed, stream.Stream)
  assert joined.encoded(found.feed.images)
  assert found.feed.images.shape[1:] == (SIDE + 4, SIDE + 4, 1)


@pytest.mark.parametrize("name", ["mine,other", "mine:3", "mine@train"])
def test_what_is_not_one_set_is_refused(name):
  made = configuration.defaults("ae")
  made["data"] |= {"name": name, "feed": "records"}
  with pytest.raises(UserError, match=f"given for {name}; it reads one built"):
    configuration.settings_of(made)


def test_what_has_no_records_is_refused(root):
  with pytest.raises(UserError, match="none of phantom in"):
    opened(root, name="phantom")
  with pytest.raises(UserError, match="decoded already"):
    feeds.choose(np.zeros((2, 4, 4, 1), np.uint8), "records", 1.0)


def test_what_needs_all_images_at_once_is_refused(root, tmp_path):
  feed = feeds.choose(opened(root).splits["train"].images, "records", 0.0)
  with pytest.raises(UserError, match="leaves encoded; set data.feed to"):
    feeds.prepared(feed, lambda images: {}, tmp_path / "made.npz")
