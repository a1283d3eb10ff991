"""The baseline's stacked members, pasted squares and passes over the tests."""

import copy

import pytest

torch = pytest.importorskip("torch")
from benchmarks import (  # noqa: E402
  torch_ddad,
  torch_nets,
  torch_side,
)
from benchmarks.protocol import Protocol  # noqa: E402
from medad_jax.mirrors import autoencoder  # noqa: E402


def test_stacked_members_are_the_members():
  torch.manual_seed(0)
  nets = [autoencoder.Autoencoder(4, 3, 8, side=16).train() for _ in range(2)]
  stack = torch_side.Stack(copy.deepcopy(nets)).train()
  images = torch.rand(2, 4, 1, 16, 16)
  loss = torch.mean((stack(images) - images) ** 2, (1, 2, 3, 4)).sum()
  loss.backward()
  for k, net in enumerate(nets):
    torch_nets.squared_error(net(images[k]), images[k]).backward()
    _same(net.encoder[0].weight.grad, stack._net.encoder[0].weight.grad[k])
    for name, value in net.named_buffers():
      _same(value, stack._net.get_buffer(name)[k])
    tested = stack.eval()(images[0])[k]
    _same(net.eval()(images[0]), tested)


def test_pasting_on_the_device():
  torch.manual_seed(0)
  image, source = torch.zeros(400, 1, 64, 64), torch.ones(400, 1, 64, 64)
  pasted, mask = torch_nets.paste(image, source)
  changed = (pasted[:, 0] > 0).flatten(1).any(1)
  assert 150 < changed.sum() < 250
  assert not ((pasted[:, 0] > 0) & ~mask).any()
  areas = mask[changed].sum((1, 2))
  assert areas.max() <= 24**2 and areas.min() >= 9  # corners are cut
  assert not mask[~changed].any()


def test_pasting_image_by_image():
  images = Protocol(normal=8, unlabelled=0).training_images()
  dataset = torch_nets.Pasted(images)
  plain = torch_nets.Images(images)
  for i in range(8):
    image, mask = dataset[i]
    outside = mask[None] == 0
    _same(image[outside], plain[i][outside])


def test_passes_over_the_test_images():
  given = Protocol()
  parts = torch_ddad.Reference(_small(), whole=False, options={}).parts()
  assert {p.unit for p in parts} == {"steps", "starts", "images"}
  reference = torch_ddad.Reference.__new__(torch_ddad.Reference)
  reference.protocol, reference._whole = given, True
  passes = {
    (p.phase, p.name): p.whole / given.tests
    for p in reference.parts()
    if p.unit == "images"
  }
  assert passes == {
    ("ensembles", "tests"): 3 * 11,  # epochs 1, 25, 50, ..., 250 of each NDM
    ("refinement", "refined scores"): 100,
    ("evaluation", "scores"): 1,
    ("evaluation", "refined scores"): 1,
  }


def _small():
  return Protocol(16, 16, 4, size=16, members=2, batch=8, refine_batch=4)


def _same(found, wanted):
  torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
