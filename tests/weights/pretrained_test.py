"""Files become the nets' variables, or one sentence says why not."""

import dataclasses
import hashlib
import json
import re

import jax
import numpy as np
import pytest

from medad_jax import fetch
from medad_jax.nets import resnet, vgg
from medad_jax.types import UserError
from medad_jax.weights import catalog, importer, pretrained, tensor_file
from tests.golden import cases, filler, torchvision
from tests.weights import sources


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv("MEDAD_CACHE_DIR", str(tmp_path / "cache"))
  return tmp_path / "cache" / "weights"


def statistics(channels=512):
  rng = np.random.RandomState(0)
  r42, other = rng.uniform(0.3, 6, (2, 2, 1, channels, 1, 1)).astype(np.float32)
  return {"c11": tuple(other), "r42": tuple(r42), "p5": tuple(other)}


@pytest.fixture
def source(tmp_path):
  return sources.write_legacy(tmp_path / "stats.pt", statistics())


def change(monkeypatch, name, **fields):
  """Lets the test say which file is the official one and where it is."""
  net = dataclasses.replace(catalog.NETS[name], **fields)
  monkeypatch.setattr(catalog, "NETS", {**catalog.NETS, name: net})


def test_resnet18_gives_the_features_of_pytorch(tmp_path):
  # The reference's net bore a prefix, which decides its made-up weights.
  shapes = {f"resnet18.{k}": s for k, s in torchvision.resnet18().items()}
  state = filler.named("ssl_projection", shapes)
  state = {k.removeprefix("resnet18."): v for k, v in state.items()}
  state["fc.bias"] = np.zeros(1000, np.float32)
  path = sources.write_safetensors(tmp_path / "resnet.safetensors", state)
  importer.import_file("resnet18", path)
  variables = pretrained.load("resnet18").variables
  image = cases.channels_last(filler.named_images("ssl_two", (3, 3, 96, 96)))
  apply = jax.jit(lambda v: resnet.ResNet18().apply(v, image, train=False))
  got = apply(variables)
  expected = [
    [1.924768, 1.4349508, 0.95155865, 0.4222958],
    [1.3397962, 1.484147, 0.16465491, 0.30759832],
    [1.2002517, 0.9646472, 0.22044644, 0.27311012],
  ]
  np.testing.assert_allclose(got[:, :4], expected, rtol=2e-5)
  means = [1.0400054, 0.6560646, 0.5902921]
  np.testing.assert_allclose(got.mean(1), means, rtol=2e-6)


def test_vgg19_is_laid_out_for_the_net(tmp_path, cache, capsys):
  rng = np.random.default_rng(0)
  state = {
    name: rng.standard_normal(shape, np.float32)
    for name, shape in torchvision.vgg19().items()
  }
  state["classifier.0.bias"] = np.zeros(4096, np.float32)
  path = sources.write_zip(tmp_path / "vgg.pth", state)
  importer.import_file("vgg19", path)
  digest = hashlib.sha256(path.read_bytes()).hexdigest()
  says = capsys.readouterr().out
  assert "not the official vgg19-dcbb9e9d.pth" in says
  assert digest[:8] in says
  assert [p.name for p in cache.iterdir()] == ["vgg19.npz"]
  got = pretrained.load("vgg19")
  assert got.provenance == f"sha256:{digest}"
  layer = got.variables["params"]["conv4_2"]
  np.testing.assert_array_equal(layer["bias"], state["features.21.bias"])
  expected = state["features.21.weight"].transpose(2, 3, 1, 0)
  np.testing.assert_array_equal(layer["kernel"], expected)
  made = jax.eval_shape(
    vgg.VGG19(("pool5",)).init, jax.random.key(0), np.zeros((1, 32, 32, 3))
  )
  assert jax.tree.map(np.shape, got.variables) == jax.tree.map(np.shape, made)


def test_statistics(source, monkeypatch, capsys):
  digest = hashlib.sha256(source.read_bytes()).hexdigest()
  change(monkeypatch, "vgg19_r42", digest=digest)
  importer.import_file("vgg19_r42", source)
  assert "official" not in capsys.readouterr().out
  got = pretrained.load("vgg19_r42")
  assert got.provenance == "official"
  mean, scale = statistics()["r42"]
  np.testing.assert_array_equal(got.variables["mean"], mean.reshape(512))
  np.testing.assert_array_equal(got.variables["scale"], scale.reshape(512))


def test_all_that_does_not_fit_is_listed(tmp_path):
  state = dict(torchvision.resnet18())
  state["layer1.0.bn1.weight"] = (63,)
  state["layer1.0.conv1.weight"] = (64, 64, 1, 1)
  del state["bn1.bias"], state["layer4.1.bn2.running_var"]
  state["layer5.conv.weight"] = (1,)
  state = {k: np.zeros(s, np.float32) for k, s in state.items()}
  path = sources.write_safetensors(tmp_path / "net.safetensors", state)
  with pytest.raises(UserError) as caught:
    importer.import_file("resnet18", path)
  listed = re.search(r"unknown\): (.*); give", str(caught.value))[1]
  assert set(re.split(r", (?=[-+a-z])", listed)) == {
    "-bn1.bias",
    "-layer4.1.bn2.running_var",
    "+layer5.conv.weight",
    "layer1.0.bn1.weight (63,) instead of (64,)",
    "layer1.0.conv1.weight (64, 64, 1, 1) instead of (64, 64, 3, 3)",
  }


def test_a_long_list_is_cut(tmp_path):
  path = sources.write_safetensors(
    tmp_path / "net.safetensors", {"x": np.zeros(1, np.float32)}
  )
  says = r"unknown\): (-[\w.]+, ){8}and 92 more, \+x; give resnet18-"
  with pytest.raises(UserError, match=says):
    importer.import_file("resnet18", path)


@pytest.mark.parametrize(
  ("part", "value", "says"),
  [(0, np.nan, "in mean;"), (1, np.inf, "in scale;"), (1, 0, "in scale;")],
)
def test_unsound_numbers_are_refused(part, value, says, tmp_path, cache):
  state = statistics()
  state["r42"][part][0, 3] = value
  path = sources.write_zip(tmp_path / "stats.pt", state)
  with pytest.raises(UserError, match=says):
    importer.import_file("vgg19_r42", path)
  assert not cache.exists()


@pytest.mark.parametrize("name", sorted(catalog.NETS))
def test_without_an_import_the_command_is_told(name, monkeypatch):
  change(monkeypatch, name, installed=None)
  command = f"python -m medad_jax.weights {name} --source=FILE"
  with pytest.raises(UserError, match=f"needs the file .*; run {command}"):
    pretrained.load(name)


def test_a_package_ships_weights_and_an_import_goes_before(monkeypatch, cache):
  name = "efficientnet_lite0"
  found = pretrained.load(name)
  assert found.provenance == "official"
  assert not cache.exists()
  path = catalog.NETS[name].shipped()
  state = {key: x.read() for key, x in tensor_file.read(path).items()}
  np.testing.assert_array_equal(
    found.variables["batch_stats"]["block3"]["project"]["var"],
    state["_blocks.3._bn2.running_var"],
  )
  state["_fc.bias"] += 1
  other = cache.parent.parent / "other.safetensors"
  tensor_file.write(other, state)
  importer.import_file(name, other)
  assert pretrained.load(name).provenance.startswith("sha256:")


@pytest.mark.parametrize("module", ["no_such_module", "json"])
def test_a_module_without_the_file_is_as_none(monkeypatch, module):
  change(monkeypatch, "efficientnet_lite0", installed=module)
  with pytest.raises(UserError, match="needs the file efficientnet-lite0-"):
    pretrained.load("efficientnet_lite0")


def cut(path):
  path.write_bytes(path.read_bytes()[:-99])


def empty(path):
  path.write_bytes(b"")


def other_arrays(path):
  facts = json.dumps({"sha256": "0", "official": True})
  np.savez(path, facts=facts, mean=np.zeros(512, np.float32))


def other_shapes(path):
  facts = json.dumps({"sha256": "0", "official": True})
  values = np.ones((2, 511), np.float32)
  np.savez(path, facts=facts, mean=values[0], scale=values[1])


def other_facts(path):
  mean, scale = np.ones((2, 512), np.float32)
  np.savez(path, facts="[1]", mean=mean, scale=scale)


@pytest.mark.parametrize(
  "damage", [cut, empty, other_arrays, other_shapes, other_facts]
)
def test_a_damaged_import_is_told(damage, source, cache):
  importer.import_file("vgg19_r42", source)
  damage(cache / "vgg19_r42.npz")
  with pytest.raises(UserError, match="is damaged .*medad_jax.weights vgg19_r"):
    pretrained.load("vgg19_r42")


def test_any_changed_byte_of_an_import_is_told_or_harmless(source, cache):
  importer.import_file("vgg19_r42", source)
  path = cache / "vgg19_r42.npz"
  whole, rng = path.read_bytes(), np.random.default_rng(0)
  expected = pretrained.load("vgg19_r42").variables
  told = 0
  for _ in range(100):
    content = bytearray(whole)
    content[rng.integers(len(whole))] ^= rng.integers(1, 256)
    path.write_bytes(content)
    try:
      found = pretrained.load("vgg19_r42").variables
    except UserError as error:
      assert str(path) in str(error)
      told += 1
    else:
      jax.tree.map(np.testing.assert_array_equal, found, expected)
  assert told > 50


def test_a_cache_that_cannot_be_written_is_told(source, cache):
  cache.parent.write_text("a file where the folder should be")
  with pytest.raises(UserError, match="cannot be written.*MEDAD_CACHE_DIR"):
    importer.import_file("vgg19_r42", source)


def test_download(source, cache, monkeypatch):
  digest = hashlib.sha256(source.read_bytes()).hexdigest()
  change(monkeypatch, "vgg19_r42", url=source.as_uri(), digest=digest[:8])
  importer.download("vgg19_r42")
  assert pretrained.load("vgg19_r42").provenance == "official"
  assert [p.name for p in cache.iterdir()] == ["vgg19_r42.npz"]


def test_downloads_that_fail(source, cache, monkeypatch):
  monkeypatch.setattr(fetch, "_PAUSE", 0.0)
  change(monkeypatch, "vgg19_r42", url=source.as_uri())
  with pytest.raises(UserError, match="is not the official file"):
    importer.download("vgg19_r42")
  missing = source.with_name("none.pt").as_uri()
  change(monkeypatch, "vgg19_r42", url=missing)
  with pytest.raises(UserError, match="could not be downloaded.*--source=FILE"):
    importer.download("vgg19_r42")
  assert not any(cache.iterdir())
