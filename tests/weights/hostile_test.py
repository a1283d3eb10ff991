"""Files that were made to do harm: one sentence, little memory, no code."""

import contextlib
import json
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from medad_jax.types import UserError
from medad_jax.weights import pickled, tensor_file
from tests.weights import sources
from tests.weights.sources import outside, refused, tree


def tensors_entry(**changed):
  return {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], **changed}


def header(tmp_path, *, text=None, **changed):
  """A safetensors file whose header is not what it should be."""
  text = text or json.dumps({"x": tensors_entry(**changed)}).encode()
  return sources.write_header(tmp_path / "net.safetensors", text, bytes(16))


@pytest.mark.parametrize(
  "changed",
  [
    {"shape": [9]},
    {"shape": [4.5]},
    {"shape": [4.0]},
    {"shape": [True, 4]},
    {"shape": [-4]},
    {"shape": [2**62, 4]},
    {"shape": [2**70]},
    {"shape": "4"},
    {"shape": None},
    {"data_offsets": [0.0, 16.0]},
    {"data_offsets": [False, 16]},
    {"data_offsets": [-16, 0]},
    {"data_offsets": [4, 20]},
    {"data_offsets": [16, 0]},
    {"data_offsets": [0]},
    {"data_offsets": [0, 2**40], "shape": [2**38]},
    {"dtype": "F33"},
    {"dtype": 32},
    {"text": b"[1]     "},
    {"text": b"{}}"},
    {"text": b'{"x": 1}'},
    {"text": b'{"\xff": 1}'},
    {"text": b'{"x":' + b"[" * 100_000},
    {"text": b'{"__metadata__": {"a": 1}}'},
  ],
  ids=lambda changed: str(changed)[:40],
)
def test_a_strange_header_is_one_sentence(changed, tmp_path):
  refused(header(tmp_path, **changed), "safetensors file|damaged")


def test_a_type_that_numpy_lacks_is_told(tmp_path):
  refused(header(tmp_path, dtype="BF16", shape=[8]), "BF16.*float32")


def test_an_impossible_shape_without_numbers_is_told(tmp_path):
  path = header(tmp_path, shape=[0, 2**63], data_offsets=[0, 0])
  path.write_bytes(path.read_bytes()[:-16])
  with pytest.raises(UserError, match="damaged"):
    tensor_file.read(path)["x"].read()


def shared(container):
  """Pushes ten references to ten references to ..., 40 times."""
  content = b"h\x00" * 10
  level = {"list": b"](" + content + b"e", "tuple": b"(" + content + b"t"}
  return b"Nq\x000" + 40 * (level[container] + b"q\x000") + b"h\x00"


TWO_32 = (1 << 32).to_bytes(8, "little")
# A few bytes or kilobytes that ask for gigabytes or for hours.
BOMBS = {
  "memo": b"\x80\x02Nr\x00\x00\x00\x07.",
  "bytes": b"\x80\x04\x8e" + TWO_32 + b"x.",
  "text": b"\x80\x04\x8d" + TWO_32 + b"x.",
  "number": b"\x80\x02\x8b\x00\x00\x10\x00" + b"\x01" * (1 << 20) + b".",
  "lists": b"\x80\x02" + shared("list") + b".",
  "key": b"\x80\x02}" + shared("tuple") + b"Ns.",
  "reference": b"\x80\x02" + shared("tuple") + b"Q.",
  "deep": b"\x80\x02" + b"]" * 10_000 + b"a" * 9_999 + b".",
  "unknown": b"\x80\x02ccollections\nCounter\n)R.",
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize(
  "write", [sources.write_pickle, sources.write_legacy_pickle]
)
def test_a_small_file_takes_no_gigabytes(bomb, write, tmp_path, measured):
  path = write(tmp_path / "net.pth", BOMBS[bomb])
  with measured:
    if bomb == "memo" and write is sources.write_pickle:
      assert tensor_file.read(path) == {}  # any place of the memo is as good
    else:
      refused(path, "damaged|tensors")


def test_a_long_name_is_told(tmp_path):
  numbers = np.ones(1, np.float32)
  path = sources.write_zip(tmp_path / "net.pth", {"x" * 199: (numbers,)})
  refused(path, "a name has more than 200 letters")
  path = sources.write_zip(tmp_path / "net.pth", {"x" * 200: numbers})
  assert tensor_file.read(path).keys() == {"x" * 200}
  path = sources.write_zip(tmp_path / "net.pth", {"x" * 201: numbers})
  refused(path, "a name has more than 200 letters")


def test_two_tensors_of_one_name_are_told(tmp_path):
  numbers = np.ones(1, np.float32)
  twice = {"a": {"b": numbers}, "a.b": numbers}
  path = sources.write_zip(tmp_path / "net.pth", twice)
  refused(path, "two tensors have the name a.b")


def test_operations_are_counted(tmp_path, monkeypatch):
  path = sources.write_zip(tmp_path / "net.pth", tree())
  assert tensor_file.read(path)
  monkeypatch.setattr(pickled, "_MOST_OPERATIONS", 100)
  refused(path, "more than 100 operations.*state_dict")


def compressed(tmp_path):
  text = b"\x80\x02]" + b"N0" * (32 << 20) + b"."
  return sources.write_pickle(
    tmp_path / "net.pth", text, compression=zipfile.ZIP_DEFLATED
  )


def compressed_numbers(tmp_path):
  path = sources.write_zip(tmp_path / "a.pth", {"x": np.zeros(8 << 20, "f4")})
  with zipfile.ZipFile(path) as old:
    with zipfile.ZipFile(
      tmp_path / "net.pth", "w", zipfile.ZIP_DEFLATED
    ) as new:
      for name in old.namelist():
        kind = None if "/data/" in name else zipfile.ZIP_STORED
        new.writestr(name, old.read(name), kind)
  path.unlink()
  return tmp_path / "net.pth"


def expanded(tmp_path):
  return outside(tmp_path, offset=0, shape=(1 << 30, 1 << 10), stride=(0, 0))


@pytest.mark.parametrize(
  ("make", "says"),
  [
    (compressed, "compressed archive/data.pkl"),
    (compressed_numbers, "compressed archive/data/0"),
    (expanded, "repeats its numbers"),
  ],
)
def test_nothing_inflates(make, says, tmp_path, measured):
  path = make(tmp_path)
  with measured:
    refused(path, says)


@contextlib.contextmanager
def limits():
  """Fails where the block takes more than 200 MB or 60 s of a core."""
  start = time.process_time()
  tracemalloc.start()
  try:
    yield
    assert tracemalloc.get_traced_memory()[1] < 200e6
  finally:
    tracemalloc.stop()
  assert time.process_time() - start < 60


@pytest.fixture
def measured():
  return limits()


@pytest.mark.parametrize(
  "write", [sources.write_zip, sources.write_legacy, sources.write_safetensors]
)
def test_any_changed_bytes_are_told_or_read(write, tmp_path):
  arrays = dict(sources.leaves(tree()))
  whole = write(tmp_path / "net", arrays).read_bytes()
  rng, told = np.random.default_rng(0), 0
  for i in range(200):
    content = bytearray(whole[: rng.integers(len(whole))] if i % 4 else whole)
    for place in rng.integers(len(content) or 1, size=3 * bool(content)):
      content[place] = rng.integers(256)
    path = tmp_path / f"{i}"
    path.write_bytes(content)
    try:
      for tensor in tensor_file.read(path).values():
        assert tensor.read().shape == tensor.shape
    except UserError as error:
      assert str(path) in str(error)
      assert "\n" not in str(error)
      told += 1
  assert told > 50


def numpy_pickle(tmp_path, *, shape=(3,), letters="f4", order="<", size=12):
  """A pickle of one array, as numpy makes it, that may not fit its numbers."""
  array = sources.Call(
    "numpy.core.multiarray._reconstruct",
    *(sources.Global("numpy.ndarray"), (0,), 0),
    state=(
      *(1, shape),
      sources.Call(
        *("numpy.dtype", letters, False, True),
        state=(3, order, None, None, None, -1, -1, 0),
      ),
      *(False, "x" * size),
    ),
  )
  # Protocol 2 has texts only; those of the numbers become bytes.
  text = sources._pickle({"net": array})
  spelled = b"X" + size.to_bytes(4, "little") + b"x" * size
  path = tmp_path / "net.ckpt"
  path.write_bytes(text.replace(spelled, b"B" + spelled[1:]))
  return path


def test_a_numpy_array_that_fits_is_read(tmp_path):
  (tensor,) = tensor_file.read(numpy_pickle(tmp_path)).values()
  assert tensor.read().tobytes() == b"x" * 12


@pytest.mark.parametrize(
  "changed",
  [
    {"shape": (4,)},
    {"shape": (2**62, 4)},
    {"shape": (-3,)},
    {"shape": (3.0,)},
    {"shape": (True, 3)},
    {"shape": (1,) * 70 + (3,)},
    {"letters": "O"},
    {"letters": "f3"},
    {"order": ">"},
  ],
  ids=lambda changed: str(changed)[:40],
)
def test_a_strange_numpy_array_is_one_sentence(changed, tmp_path):
  refused(numpy_pickle(tmp_path, **changed), "damaged")


def test_a_pickle_that_asks_for_more_than_the_file(tmp_path):
  path = numpy_pickle(tmp_path)
  content = path.read_bytes()
  size = b"B" + (12).to_bytes(4, "little")
  path.write_bytes(content.replace(size, b"B" + b"\xff" * 4))
  tracemalloc.start()
  refused(path, "damaged")
  assert tracemalloc.get_traced_memory()[1] < 1 << 20
  tracemalloc.stop()
