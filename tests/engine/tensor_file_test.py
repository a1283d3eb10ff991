"""Tensor files are read without the libraries that write them."""

import functools
import tarfile

import numpy as np
import pytest

from medad_jax.engine import tensor_file
from medad_jax.types import UserError
from tests.engine import tensor_sources as sources


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


def damaged(tmp_path, write):
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


def wrong_size(tmp_path):
  path = tmp_path / "net.safetensors"
  sources.write_safetensors(path, {"x": np.zeros(4, np.float32)})
  path.write_bytes(path.read_bytes().replace(b'"shape": [4]', b'"shape": [9]'))
  return path


@pytest.mark.parametrize(
  ("make", "says"),
  [
    (lambda folder: folder / "none.pth", "No such file"),
    (lambda folder: folder, "Is a directory"),
    (functools.partial(damaged, write=sources.write_zip), "damaged"),
    (functools.partial(damaged, write=sources.write_legacy), "damaged"),
    (wrong_size, "damaged.*x has an unexpected size"),
    (functools.partial(outside, offset=4), "beyond its numbers"),
    (functools.partial(outside, offset=-1), "beyond its numbers"),
    (functools.partial(outside, stride=(2,)), "beyond its numbers"),
    (functools.partial(outside, stride=(-1,)), "beyond its numbers"),
    (dangerous, r"more than tensors \(os.mkdir\)"),
    (bfloat, "BFloat16.*float32"),
    (text, "neither a PyTorch nor a safetensors file"),
    (archive, "without PyTorch's data.pkl"),
    (tar, "before 2017"),
  ],
)
def test_what_cannot_be_read_is_one_sentence(make, says, tmp_path):
  path = make(tmp_path)
  with pytest.raises(UserError, match=says) as caught:
    tensor_file.read(path)
  assert str(path) in str(caught.value)
  assert not (tmp_path / "owned").exists()


def test_a_damaged_number_is_noticed(tmp_path):
  path = sources.write_zip(tmp_path / "net.pth", {"x": np.ones(9, np.float32)})
  one = np.ones(9, np.float32).tobytes()
  path.write_bytes(path.read_bytes().replace(one, b"\x07" + one[1:]))
  with pytest.raises(UserError, match="damaged"):
    tensor_file.read(path)["x"].read()
