"""Tensor files: what is read, what is written, what is refused."""

import errno
import functools
import os
import pathlib
import pickle
import tarfile

import numpy as np
import pytest

from medad_jax.types import UserError
from medad_jax.weights import pickled, tensor_file
from tests.weights import sources

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
  path = write(tmp_path / "net.pth", sources.tree())
  check(path, dict(sources.leaves(sources.tree())))


def test_safetensors(tmp_path):
  arrays = dict(sources.leaves(sources.tree()))
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
  path = write(tmp_path / "net.pth", sources.tree())
  path.write_bytes(path.read_bytes()[:-9])
  return path


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
    (functools.partial(sources.outside, offset=4), "beyond its numbers"),
    (functools.partial(sources.outside, offset=-1), "beyond its numbers"),
    (functools.partial(sources.outside, stride=(2,)), "beyond its numbers"),
    (functools.partial(sources.outside, stride=(-1,)), "beyond its numbers"),
    (functools.partial(sources.outside, shape=(2.0,)), "beyond its numbers"),
    (functools.partial(sources.outside, shape=(2, 2)), "strange sides"),
    (dangerous, r"more than tensors \(os.mkdir\)"),
    (bfloat, "BFloat16.*float32"),
    (text, "neither a PyTorch nor a safetensors file"),
    (archive, "without PyTorch's data.pkl"),
    (tar, "before 2017"),
  ],
)
def test_what_cannot_be_read_is_one_sentence(make, says, tmp_path):
  sources.refused(make(tmp_path), says)
  assert not (tmp_path / "owned").exists()


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


@pytest.mark.parametrize(
  ("protocol", "module"),
  [(3, b"numpy.core"), (3, b"numpy._core"), (4, b"numpy._core")],
)
def test_pickled_arrays_of_numpy(protocol, module, tmp_path):
  rng = np.random.RandomState(0)
  kernel = rng.standard_normal((2, 3, 4)).astype(np.float32)
  arrays = {
    "Conv_0": {"kernel": kernel, "bias": np.asfortranarray(kernel[0])},
    "count": np.arange(3),
    "again": kernel.astype(np.float16),
  }
  content = pickle.dumps(arrays, protocol=protocol)
  # Before its version 2, numpy wrote the other name.
  content = content.replace(b"numpy._core", module)
  path = tmp_path / "net.ckpt"
  path.write_bytes(content)
  found = tensor_file.read(path)
  assert list(found) == ["Conv_0.kernel", "Conv_0.bias", "count", "again"]
  for name, tensor in found.items():
    part = arrays
    for key in name.split("."):
      part = part[key]
    assert tensor.shape == part.shape and tensor.read().dtype == part.dtype
    np.testing.assert_array_equal(tensor.read(), part)
