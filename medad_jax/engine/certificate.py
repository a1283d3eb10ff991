"""Comparison of a run with the same nets in PyTorch, layer by layer.

Weights go to PyTorch as they lie in the files, and to this project through the
run's checkpoints, so that the whole way is compared.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import importlib.util
from pathlib import Path
import platform

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax.data import resident, spec
from medad_jax.engine import (
  environment,
  experiment,
  members,
  scorer,
  torch_states,
  trained,
)
from medad_jax.engine.importing import Source
from medad_jax.report.parity import Parity, Row
from medad_jax.scoring import agreement
from medad_jax.types import UserError

_PROBED = 8  # images whose layers are compared


def check_torch() -> None:
  """Checks that PyTorch is installed.

  Raises:
    UserError: it is not.
  """
  # Found and not imported: that takes seconds.
  if importlib.util.find_spec("torch") is None:
    raise UserError(
      "--verify compares with PyTorch, which is not installed; run pip install"
      " 'medad-jax[torch]', or leave --verify out."
    )


def verify(workdir: Path, sources: Sequence[Source], count: int) -> Parity:
  """Compares an imported run with PyTorch, and writes the certificate.

  Args:
    workdir: the run's folder, where parity.json and parity.md go.
    sources: the files that it was imported from.
    count: test images to score.

  Raises:
    UserError: PyTorch or the test images are absent, or there is no such net
      in PyTorch.
  """
  check_torch()
  model = trained.Trained.load(workdir)
  test = _some(experiment.test_images(model), count)
  return compare(model, sources, test, workdir)


def compare(
  model: trained.Trained,
  sources: Sequence[Source],
  test: spec.Split,
  out: Path,
) -> Parity:
  """Compares a model with PyTorch on some images, and writes the certificate.

  Args:
    model: what was imported.
    sources: the files that it was imported from.
    test: images with labels.
    out: folder of the certificate.
  """
  # Late: everything else does without PyTorch.
  import medad_jax.mirrors.registry as registry
  import medad_jax.mirrors.running as running

  name = model.config["method"]
  twin = registry.twin(model.method, name, model.shape)
  runner = running.Runner(twin, [(s.slot, _state(s)) for s in sources])
  image = _normalized(np.asarray(test.images))
  # Layers of a few images, as they take memory; scores of all.
  rows = [
    *_layer_rows(model, runner, image[:_PROBED]),
    *_score_rows(model, runner, test, image),
  ]
  found = Parity(
    method=name,
    dataset=model.settings.data.name,
    images=len(image),
    versions=environment.versions() | runner.versions(),
    devices={
      "this project": jax.devices()[0].device_kind,
      "PyTorch": f"cpu, {platform.machine()}",
    },
    rows=rows,
  )
  # Written in either case: one that does not hold shows where.
  found.write(out)
  return found


def _layer_rows(model, runner, image) -> Iterator[Row]:
  """The largest error of each layer over the members of a kind of file."""
  flat = torch_states.flatten(model.states)
  worst: dict[tuple[str, str], Row] = {}
  for slot, layer, *outputs in runner.layers(flat, image):
    # Members are many and alike: the worst of each kind stands for all. But
    # refinement nets of different inputs have one flag.
    of = slot.file.name if slot.file.flag == "refine" else slot.file.flag
    row = _row("layer", of, layer, *outputs)
    if (of, layer) not in worst or row.scaled > worst[of, layer].scaled:
      worst[of, layer] = row
  yield from worst.values()


def _score_rows(model, runner, test: spec.Split, image) -> Iterator[Row]:
  """Scores and maps of all trials."""
  # The very program that an evaluation runs, from the checkpoints on.
  parts = [
    scorer.on_host((x.scores.image, x.scores.maps), n)
    for n, x in model.batches(test.images, test.columns)
  ]
  ours = jax.tree.map(lambda *xs: np.concatenate(xs), *parts)
  by_trial = members.by_trial(dict(model.states), len(model.trials))
  for t, trial in enumerate(model.trials):
    states = jax.tree.map(lambda x, t=t: x[t], by_trial)
    theirs = runner.scores(t, image, states)
    # What float32 can do at all: the certificate asks no more.
    exact = runner.scores(t, image, states, exact=True)
    kinds = ("score", "map")
    for kind, mine, *others in zip(kinds, ours, theirs, exact, strict=True):
      for name in others[0]:
        outputs = mine[name][:, t], *(other[name] for other in others)
        row = _row(kind, f"seed {trial.seed}", name, *outputs)
        if kind == "score":
          a, b, _ = outputs
          row = dataclasses.replace(
            row,
            rank_correlation=agreement.rank_correlation(a, b),
            auroc_difference=agreement.auroc_difference(test.labels, a, b),
          )
        yield row


def _row(kind: str, of: str, name: str, ours, theirs, exact) -> Row:
  found = agreement.agreement(ours, theirs)
  rounding = agreement.agreement(theirs, exact)
  numbers = (found.error, found.largest, found.scaled, rounding.error)
  return Row(kind, of, name, *numbers)


def _state(source: Source) -> dict[str, np.ndarray]:
  """The file's tensors in float32, without what is no part of the net."""
  # An optimizer's tensors may lie beside the net's.
  modules = set(source.slot.file.table)
  return {
    name: tensor.read()
    for name, tensor in source.found.tensors.items()
    if name.rpartition(".")[0] in modules
  }


def _some(split: spec.Split, count: int) -> spec.Split:
  """Rows spread evenly over a split, in their order."""
  # Not the first ones: a split begins with one class.
  rows = np.unique(
    np.linspace(0, len(split) - 1, min(count, len(split))).astype(int)
  )
  return spec.Split(
    np.asarray(split.images[rows]),
    split.labels[rows],
    tuple(split.names[row] for row in rows),
    columns={
      name: tuple(texts[row] for row in rows)
      for name, texts in split.columns.items()
    },
  )


def _normalized(images: np.ndarray) -> np.ndarray:
  """[-1, 1] from gray levels, as nets see them."""
  return np.array(resident.normalize(jnp.asarray(images)))
