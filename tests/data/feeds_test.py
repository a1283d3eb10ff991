"""What is prepared once is kept, whole, or made again."""

import numpy as np
import pytest

from medad_jax.data import feeds, resident, stream
from medad_jax.types import UserError

IMAGES = np.arange(5 * 16, dtype=np.uint8).reshape(5, 4, 4, 1)


class Prepare:
  """Counts how often it is asked."""

  def __init__(self):
    self.calls = 0

  def __call__(self, images):
    self.calls += 1
    return {"anatomy": images[..., 0] > 40, "mean": images.mean((1, 2, 3))}


@pytest.fixture
def prepare():
  return Prepare()


def prepared(prepare, path):
  found = feeds.prepared(resident.Resident(IMAGES), prepare, path).constant
  expected = Prepare()(IMAGES)
  for name, values in expected.items():
    np.testing.assert_array_equal(found[name], values)
  np.testing.assert_array_equal(found["image"], IMAGES)


def test_it_is_made_once(prepare, tmp_path, capsys):
  path = tmp_path / "prepared" / "train.npz"
  for _ in range(3):
    prepared(prepare, path)
  assert prepare.calls == 1
  assert capsys.readouterr().err == ""
  assert [p.name for p in path.parent.iterdir()] == ["train.npz"]


def test_fractional_levels_are_rounded_for_what_is_prepared(prepare, tmp_path):
  feed = resident.Resident(IMAGES + np.float32(0.4))
  found = feeds.prepared(feed, prepare, tmp_path / "train.npz").constant
  np.testing.assert_array_equal(found["mean"], IMAGES.mean((1, 2, 3)))
  assert found["image"].dtype == np.float32


def test_the_choice_counts_the_bytes_that_are_stored():
  limit = IMAGES.nbytes / 1e6
  assert isinstance(feeds.choose(IMAGES, None, limit), resident.Resident)
  fractional = IMAGES.astype(np.float32)
  assert isinstance(feeds.choose(fractional, None, limit), stream.Stream)
  assert isinstance(
    feeds.choose(fractional, None, 4 * limit), resident.Resident
  )


def test_nothing_to_prepare_writes_nothing(tmp_path):
  feed = resident.Resident(IMAGES)
  assert feeds.prepared(feed, None, tmp_path / "train.npz") is feed
  assert list(tmp_path.iterdir()) == []


def _write(path, **arrays):
  np.savez(path, **arrays, contents=["anatomy", "mean"])


def _write_another_format(path):
  with path.open("wb") as file:
    np.save(file, IMAGES)


@pytest.mark.parametrize(
  "damage",
  [
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(path.read_bytes()[:100]),
    lambda path: path.write_bytes(path.read_bytes()[:-1]),
    lambda path: path.write_bytes(b"no archive"),
    _write_another_format,
    lambda path: _write(path),
    lambda path: _write(path, anatomy=IMAGES[:4], mean=np.zeros(4)),
    lambda path: _write(path, anatomy=IMAGES),
    lambda path: _write(path, anatomy=IMAGES, mean=np.array(3)),
    lambda path: _write(path, anatomy=IMAGES, mean=np.array([{}] * 5)),
  ],
)
def test_a_damaged_file_is_named_and_made_again(
  prepare, tmp_path, capsys, damage
):
  path = tmp_path / "train.npz"
  prepared(prepare, path)
  damage(path)
  prepared(prepare, path)
  (line,) = capsys.readouterr().err.splitlines()
  assert f"{path} is damaged" in line and "made again" in line
  prepared(prepare, path)
  assert prepare.calls == 2


def test_one_changed_byte_is_never_taken_for_what_was_prepared(
  prepare, tmp_path
):
  """Anywhere in the file: it is read as it was, or made again."""
  path = tmp_path / "train.npz"
  prepared(prepare, path)
  whole = path.read_bytes()
  for at in range(len(whole)):
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
    prepared(prepare, path)
  assert prepare.calls > 100


def test_a_full_disk_is_one_sentence(prepare, tmp_path, monkeypatch):
  def full(*_, **__):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(np, "savez", full)
  with pytest.raises(UserError, match="train.npz cannot be written.*No space"):
    prepared(prepare, tmp_path / "train.npz")
  assert list(tmp_path.iterdir()) == []
