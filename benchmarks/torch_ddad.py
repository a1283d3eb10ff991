"""DDAD-ASR in PyTorch, as its users run it and as well as one can.

`Reference` does what the published programs do. Members train one after
another, eager, from a data loader with one worker process, and the loss is read
at every step. Test images are scored one at a time: by each NDM after its 1st
and every 25th epoch, with all maps after every refinement epoch, and twice in
the end (without and with refinement). The six frozen nets see a refinement
batch one after another; its anomalies are pasted image by image in the loader's
worker. Kinder than the originals: images lie in memory at their final size,
frozen nets keep no graph, no metrics are computed, loaders of tests start once,
and the nine starts of its programs count as one.

`Tuned` is the same training by somebody who knows PyTorch: images as uint8 on
the device, row numbers, normalization and pasting there too, `torch.compile`
(on a GPU with CUDA graphs), fused Adam, TF32, members stacked by `torch.func`,
channels_last; a short trial decides which of these pay, phase by phase. It
tests in batches, once, in the end, as this project does.
"""

import itertools
from typing import Any

import torch
from torch import nn
from torch.utils import data

from benchmarks import torch_nets, torch_side
from benchmarks.protocol import Part, Protocol
from benchmarks.sides import Run
from benchmarks.torch_side import Form
from medad_jax.mirrors import autoencoder, refine

_REFINED = "refined scores"


class Reference(torch_side.TorchSide):
  """The official code's way, which users run today.

  Args:
    protocol: sizes and counts.
    whole: whether every step is taken, so that loaders start by themselves.
    options: none.
  """

  def __init__(self, protocol: Protocol, whole: bool, options: dict[str, Any]):
    super().__init__(protocol)
    del options
    self._whole = whole
    self._images = protocol.training_images()
    self._normal = self._images[: protocol.normal]
    self._tests = protocol.test_images()

  def parts(self) -> list[Part]:
    """Steps, starts of loaders and tests."""
    p = self.protocol
    monitored = 1 + p.epochs // 25
    found = [
      Part("ensembles", "1 member", p.ensemble_steps),
      Part("ensembles", "epochs begun", 2 * p.members * p.epochs, "starts"),
      Part("ensembles", "tests", p.members * monitored * p.tests, "images"),
      Part("refinement", "refinement net", p.refine_steps),
      Part("refinement", "epochs begun", p.refine_epochs, "starts"),
      Part("refinement", _REFINED, p.refine_epochs * p.tests, "images"),
      Part("evaluation", "scores", p.tests, "images"),
      Part("evaluation", _REFINED, p.tests, "images"),
    ]
    return [p for p in found if not (self._whole and p.unit == "starts")]

  def _make(self, part):
    ensembles = part.phase == "ensembles"
    if part.unit == "steps":
      return self._train() if ensembles else self._refine()
    if part.unit == "starts":
      return self._start(part.phase)
    return self._test(
      self._score_one() if ensembles else self._score_all(part.name == _REFINED)
    )

  def _loader(self, phase: str) -> data.DataLoader:
    dataset, batch = torch_nets.Images(self._images), self.protocol.batch
    if phase == "refinement":
      dataset = torch_nets.Pasted(self._normal)
      batch = self.protocol.refine_batch
    return _loader(dataset, batch, shuffle=True)

  def _start(self, phase: str) -> Run:
    """A worker process and its first batch."""
    loader = self._loader(phase)

    def run(amount):
      for _ in range(amount):
        next(iter(loader))  # every epoch of the programs starts a new worker
      return amount

    return run

  def _train(self) -> Run:
    net = self._net().train()

    def loss(image):
      return torch_nets.squared_error(net(image), image)

    optimizer = torch.optim.Adam(net.parameters(), 5e-4, (0.5, 0.999))
    return self.eager(loss, optimizer, self._loader("ensembles"))

  def _refine(self) -> Run:
    teachers = self._teachers()
    net = refine.RefineNet().to(self.device).train()

    def loss(image, mask):
      logits = net(torch_nets.refine_input(_maps(teachers, image)))
      return torch_nets.focal(logits, mask)

    optimizer = torch.optim.Adam(
      net.parameters(), 1e-4, (0.5, 0.999), weight_decay=1e-4
    )
    return self.eager(loss, optimizer, self._loader("refinement"))

  def _score_one(self):
    """A member's score of an image."""
    net = self._net().eval()
    return lambda image: torch.mean((net(image) - image) ** 2)

  def _score_all(self, refined: bool):
    """The means of all maps, or what the refinement net makes of them."""
    teachers = self._teachers()
    net = refine.RefineNet().to(self.device).eval()

    def score(image):
      maps = _maps(teachers, image)
      if refined:
        logits = net(torch_nets.refine_input(maps))
        return logits.softmax(1)[:, 1:].mean()
      return torch.stack([m.mean() for m in maps.values()])

    return score

  def _test(self, score) -> Run:
    loader = _loader(torch_nets.Images(self._tests), 1, shuffle=False)
    batches = torch_side.endless(loader)

    def run(amount):
      with torch.no_grad():
        for image in itertools.islice(batches, amount):
          score(image.to(self.device)).cpu()
      return amount

    return run

  def _net(self) -> nn.Module:
    net = autoencoder.Autoencoder(side=self.protocol.size)
    return net.to(self.device)

  def _teachers(self) -> list[nn.Module]:
    return [self._net().eval() for _ in range(2 * self.protocol.members)]


class Tuned(torch_side.TunedSide):
  """The code as a good PyTorch engineer would write it.

  Args:
    protocol: sizes and counts.
    compiles: whether `torch.compile` may be tried.
    test_batch: images a call in tests.
    options: {"ensembles": form, "refinement": form}, from `choose`.
  """

  FORMS = (
    Form(),
    Form(channels_last=True),
    Form(stacked=True),
    Form(compiled=True),
    Form(compiled=True, stacked=True),
  )

  def __init__(
    self,
    protocol: Protocol,
    compiles: bool,
    test_batch: int,
    options: dict[str, Form],
  ):
    super().__init__(protocol, compiles, options)
    self._test_batch = test_batch

  def trials(self):
    """Trials of all members stacked or of one, and of the refinement net."""
    members = 2 * self.protocol.members

    def ensembles(form):
      return self._train(form, members), members if form.stacked else 1

    def refinement(form):
      return self._refine(form), 1

    return {"ensembles": ensembles, "refinement": refinement}

  def parts(self) -> list[Part]:
    """Steps of stacked members, or of one, and the rest."""
    p = self.protocol
    single = Part("ensembles", "1 member", p.ensemble_steps)
    stacked = self.options["ensembles"].stacked
    return [
      *(p.together() if stacked else [single]),
      Part("refinement", "refinement net", p.refine_steps),
      Part("evaluation", "all scores", p.tests, "images"),
    ]

  def _make(self, part):
    form = self.options.get(part.phase, self.options["refinement"])
    if part.phase == "evaluation":
      return self._test(form)
    if part.phase == "refinement":
      return self._refine(form)
    first, members = self.protocol.together()[0], self.protocol.members
    return self._train(form, 2 * members if part == first else members)

  def _train(self, form: Form, members: int) -> Run:
    """Training steps of one net, or of several stacked ones."""
    net = self._net(form)
    if form.stacked:
      net = torch_side.Stack([self._net(form) for _ in range(members)])
    net.train()
    optimizer = torch_side.adam(net, 5e-4, 0.5)
    p = self.protocol
    shuffled = self.rows(p.mixed, p.batch, members if form.stacked else 1)

    def loss(at):
      image = torch_nets.normalize(self.images[at])  # [k b 1 h w]
      if not form.stacked:
        image = form.ordered(image[0])
      # A sum over members: each has the gradient of its own mean.
      return torch.mean((net(image) - image) ** 2, (-4, -3, -2, -1)).sum()

    call = self.compiled(loss, form, net)
    return torch_side.training(call, optimizer, shuffled)

  def _refine(self, form: Form) -> Run:
    teachers = self._teachers(form)
    net = self.placed(refine.RefineNet(), form).train()
    optimizer = torch_side.adam(net, 1e-4, 0.5, decay=1e-4)
    normal = self.protocol.normal
    shuffled = self.rows(normal, self.protocol.refine_batch)

    def loss(at):
      at = at[0]
      # Any image but the same one.
      other = (at + torch.randint_like(at, 1, normal)) % normal
      image, source = torch_nets.normalize(
        self.images[torch.stack([at, other])]
      )
      image, mask = torch_nets.paste(image, source)
      with torch.no_grad():
        image = form.ordered(image)
        maps = torch_nets.discrepancies(image, teachers(image))
      stack = form.ordered(torch_nets.refine_input(maps))
      return torch_nets.focal(net(stack), mask)

    call = self.compiled(loss, form, teachers, net)
    return torch_side.training(call, optimizer, shuffled)

  def _test(self, form: Form) -> Run:
    teachers = self._teachers(form)
    net = self.placed(refine.RefineNet(), form).eval()
    tests = torch.from_numpy(self.protocol.test_images())[:, None]
    tests, batch = tests.to(self.device), self._test_batch

    def score(images):
      image = form.ordered(torch_nets.normalize(images))
      x_hat = teachers(image)
      maps = torch_nets.discrepancies(image, x_hat)
      stack = form.ordered(torch_nets.refine_input(maps))
      maps["refined"] = net(stack).softmax(1)[:, 1:]
      single = ((x_hat.chunk(2)[1] - image) ** 2).mean((2, 3, 4))
      means = torch.stack([m.mean((1, 2, 3)) for m in maps.values()])
      return torch.cat([single, means]), maps

    call = self.compiled(score, form, teachers, net)

    def run(amount):
      found = []
      with torch.no_grad():
        for start in range(0, amount, batch):
          torch.compiler.cudagraph_mark_step_begin()
          at = torch.arange(start, start + batch, device=self.device)
          # A copy: a CUDA graph writes the next results into the same memory.
          found.append(call(tests[at % len(tests)])[0].clone())
        torch.cat(found, 1)[:, :amount].cpu()
      return amount

    return run

  def _net(self, form: Form) -> nn.Module:
    return self.placed(autoencoder.Autoencoder(side=self.protocol.size), form)

  def _teachers(self, form: Form) -> nn.Module:
    nets = [self._net(form) for _ in range(2 * self.protocol.members)]
    kind = torch_side.Stack if form.stacked else torch_side.InTurn
    return kind(nets).eval().requires_grad_(False)


def _loader(dataset, batch: int, shuffle: bool) -> data.DataLoader:
  return data.DataLoader(
    dataset,
    batch,
    shuffle=shuffle,
    drop_last=shuffle,
    num_workers=1,
    multiprocessing_context="fork",
  )


def _maps(teachers: list[nn.Module], image: torch.Tensor):
  """Discrepancy maps of frozen nets, which run one after another."""
  with torch.no_grad():
    x_hat = torch.stack([net(image) for net in teachers])
    return torch_nets.discrepancies(image, x_hat)
