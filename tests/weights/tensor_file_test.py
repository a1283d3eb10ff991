"""Tensor files: what is read, what is written, what is refused."""

import contextlib
import errno
import functools
import json
import os
import pathlib
import tarfile
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from medad_jax.types import UserError
from medad_jax.weights import pickled, tensor_file
from tests.weights import sources


def tree():
  rng = np.random.RandomState(0)
  return {
    "conv.weight": rng.standard_normal((4, 3, 2, 2)).astype(np.float32),
    "conv.bias": rng.standard_normal(4).astype(np.float32),
    "transposed": rng.standard_normal((5, 2)).astype(np.float32).T,
    "half": rng.standard_normal((2, 1)).astype(np.float16),
    "count": np.asarray(7, np.int64),
    "r42": (np.ones((1, 2, 1, 1), np.float32), np.zeros(3, np.float32)),
    "epoch": 3,
  }


WRITERS = {
  f"{write.__name__}-{style.__name__}": functools.partial(write, style=style)
  for write in (sources.write_zip, sources.write_legacy)
  for style in (
    sources.modern,
    sources.plain,
    sources.parameter,
    sources.ancient,
  )
}


def check(path, expected):
  found = tensor_file.read(path)
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    assert found[name].shape == value.shape
    got = found[name].read()
    assert got.dtype == value.dtype
    np.testing.assert_array_equal(got, value)


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_pytorch_files(write, tmp_path):
  path = write(tmp_path / "net.pth", tree())
  check(path, dict(sources.leaves(tree())))


def test_safetensors(tmp_path):
  arrays = dict(sources.leaves(tree()))
  check(sources.write_safetensors(tmp_path / "net.safetensors", arrays), arrays)


@pytest.mark.parametrize("as_zip", [True, False])
def test_what_pytorch_itself_writes(as_zip, tmp_path):
  torch = pytest.importorskip("torch")
  net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.BatchNorm2d(2))
  state = net.state_dict()
  state["view"] = torch.arange(12.0).reshape(3, 4)[1:, ::2]
  state["parameter"] = torch.nn.Parameter(torch.ones(2, 2).t())
  state["pair"] = (torch.zeros(1), torch.ones(1, 2))
  path = tmp_path / "net.pth"
  torch.save(state, path, _use_new_zipfile_serialization=as_zip)
  pair = {f"pair.{i}": value for i, value in enumerate(state.pop("pair"))}
  arrays = {k: v.detach().numpy() for k, v in (state | pair).items()}
  check(path, arrays)


def cut(tmp_path, write):
  path = write(tmp_path / "net.pth", tree())
  path.write_bytes(path.read_bytes()[:-9])
  return path


def outside(tmp_path, *, offset=3, shape=(5,), stride=(1,)):
  """A tensor of numbers that the file does not have."""
  array = np.ones(5, np.float32)
  return sources.write_zip(
    tmp_path / "net.pth",
    {"x": array},
    lambda storage, *_: sources.plain(storage, offset, shape, stride),
  )


def dangerous(tmp_path):
  call = sources.Call("os.mkdir", str(tmp_path / "owned"))
  return sources.write_legacy(tmp_path / "net.pth", {"x": call})


def bfloat(tmp_path):
  storage = sources.Storage(np.zeros(2, np.int64), "0", "BFloat16Storage")
  call = sources.plain(storage, 0, (2,), (1,))
  return sources.write_zip(tmp_path / "net.pth", {"x": call})


def text(tmp_path):
  path = tmp_path / "net.pth"
  path.write_text("<html>not found</html>")
  return path


def archive(tmp_path):
  np.savez(tmp_path / "net.npz", x=np.zeros(2))
  return tmp_path / "net.npz"


def tar(tmp_path):
  with tarfile.open(tmp_path / "net.tar", "w") as file:
    file.add(text(tmp_path), "sys_info")
  return tmp_path / "net.tar"


def tensors_entry(**changed):
  return {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], **changed}


def header(tmp_path, *, text=None, **changed):
  """A safetensors file whose header is not what it should be."""
  text = text or json.dumps({"x": tensors_entry(**changed)}).encode()
  return sources.write_header(tmp_path / "net.safetensors", text, bytes(16))


def pipe(tmp_path):
  os.mkfifo(tmp_path / "net.pth")
  return tmp_path / "net.pth"


@pytest.mark.parametrize(
  ("make", "says"),
  [
    (lambda folder: folder / "none.pth", "No such file"),
    (lambda folder: folder, "is no file"),
    (pipe, "is no file"),
    (functools.partial(cut, write=sources.write_zip), "damaged"),
    (functools.partial(cut, write=sources.write_legacy), "damaged"),
    (functools.partial(outside, offset=4), "beyond its numbers"),
    (functools.partial(outside, offset=-1), "beyond its numbers"),
    (functools.partial(outside, stride=(2,)), "beyond its numbers"),
    (functools.partial(outside, stride=(-1,)), "beyond its numbers"),
    (functools.partial(outside, shape=(2.0,)), "beyond its numbers"),
    (functools.partial(outside, shape=(2, 2)), "strange sides"),
    (dangerous, r"more than tensors \(os.mkdir\)"),
    (bfloat, "BFloat16.*float32"),
    (text, "neither a PyTorch nor a safetensors file"),
    (archive, "without PyTorch's data.pkl"),
    (tar, "before 2017"),
  ],
)
def test_what_cannot_be_read_is_one_sentence(make, says, tmp_path):
  refused(make(tmp_path), says)
  assert not (tmp_path / "owned").exists()


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


def test_a_damaged_number_is_noticed(tmp_path):
  path = sources.write_zip(tmp_path / "net.pth", {"x": np.ones(9, np.float32)})
  one = np.ones(9, np.float32).tobytes()
  path.write_bytes(path.read_bytes().replace(one, b"\x07" + one[1:]))
  with pytest.raises(UserError, match="damaged"):
    tensor_file.read(path)["x"].read()


def test_a_file_that_vanishes_is_told(tmp_path):
  path = sources.write_zip(tmp_path / "net.pth", {"x": np.ones(9, np.float32)})
  found = tensor_file.read(path)
  path.unlink()
  with pytest.raises(UserError, match="No such file"):
    found["x"].read()


def refused(path, says):
  with pytest.raises(UserError, match=says) as caught:
    tensor_file.read(path)
  assert str(path) in str(caught.value)
  assert len(str(caught.value)) < 600
  assert "\n" not in str(caught.value)


SUFFIXES = (".pth", ".pt", ".safetensors")


def to_write():
  """An array of each type, and shapes that are easily lost."""
  rng = np.random.default_rng(0)
  arrays = {
    f"type.{dtype.name}": rng.integers(0, 2, (2, 3)).astype(dtype)
    for dtype in pickled.STORAGES.values()
  }
  return {
    **arrays,
    "scalar": np.asarray(7, np.int64),
    "empty": np.zeros((0, 3), np.float32),
    "transposed": rng.standard_normal((2, 3)).T,
    "strided": rng.standard_normal((6, 2, 1, 1, 1))[::2],
    "big-endian": rng.standard_normal(3).astype(">f4"),
    "long": np.arange(70_000, dtype=np.int32),
    "Größe": np.ones(1, np.float32),
  }


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read(suffix, tmp_path):
  path = tmp_path / f"net{suffix}"
  tensor_file.write(path, to_write())
  tensor_file.write(path, to_write())  # it is replaced
  arrays = to_write()
  arrays["big-endian"] = arrays["big-endian"].astype("<f4")
  check(path, arrays)
  assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_arrays_give_equal_bytes(suffix, tmp_path):
  first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
  tensor_file.write(first, to_write())
  tensor_file.write(second, to_write())
  assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pytorch_reads_what_is_written(suffix, tmp_path):
  torch = pytest.importorskip("torch")
  path = tmp_path / f"net{suffix}"
  tensor_file.write(path, to_write())
  if suffix == ".safetensors":
    found = pytest.importorskip("safetensors.torch").load_file(path)
  else:
    found = torch.load(path, weights_only=True)
  assert found.keys() == to_write().keys()
  for name, value in to_write().items():
    assert str(found[name].dtype) == f"torch.{value.dtype.name}"
    assert found[name].is_contiguous()
    np.testing.assert_array_equal(found[name].numpy(), value)
    assert found[name].shape == value.shape


def full_disk(*_):
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_cannot_be_written_leaves_the_old_one(
  suffix, tmp_path, monkeypatch
):
  path = tmp_path / f"net{suffix}"
  tensor_file.write(path, {"x": np.ones(3)})
  with monkeypatch.context() as patch:
    patch.setattr(pathlib.Path, "replace", full_disk)
    with pytest.raises(UserError, match=f"net{suffix} cannot be .*No space"):
      tensor_file.write(path, {"x": np.zeros(3)})
  check(path, {"x": np.ones(3)})
  assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_what_cannot_be_written_is_told(tmp_path):
  with pytest.raises(UserError, match="net.npz.*end in .pth, .pt, .safetens"):
    tensor_file.write(tmp_path / "net.npz", {})
  (tmp_path / "file").touch()
  with pytest.raises(UserError, match="cannot be written"):
    tensor_file.write(tmp_path / "file" / "net.pth", {})
  with pytest.raises(ValueError, match="x is of complex64"):
    tensor_file.write(tmp_path / "net.pth", {"x": np.zeros(1, np.complex64)})
