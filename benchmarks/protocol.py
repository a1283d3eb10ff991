"""The work that `benchmarks.ddad` times: DDAD-ASR's images, steps, phases.

Counts only, no framework: every side and the command itself import it.
"""

import argparse
from collections.abc import Sequence
import dataclasses
from typing import NamedTuple

import numpy as np

PHASES = ("ensembles", "refinement", "evaluation")
PRECISIONS = ("float32", "bfloat16")


class Part(NamedTuple):
  """A stretch of a phase whose units cost the same, one like the other.

  Attributes:
    phase: one of `PHASES`, or another benchmark's.
    name: what is done.
    whole: units in the whole protocol.
    unit: "steps", "images" or "starts".
  """

  phase: str
  name: str
  whole: int
  unit: str = "steps"


@dataclasses.dataclass(frozen=True)
class Protocol:
  """DDAD-ASR as published for RSNA (arXiv 2210.04227), unless set otherwise.

  Attributes:
    normal: normal training images.
    unlabelled: images that the UDM sees besides.
    tests: test images.
    size: side of the images, in pixels.
    members: nets of each of the two ensembles.
    batch: images a step of the ensembles.
    epochs: of the ensembles, each member on its own images.
    refine_batch: images a step of the refinement net.
    refine_epochs: of the refinement net, on the normal images.
    precision: of the nets of ours and tuned, one of `PRECISIONS`.
  """

  normal: int = 3851
  unlabelled: int = 4000
  tests: int = 2000
  size: int = 64
  members: int = 3
  batch: int = 64
  epochs: int = 250
  refine_batch: int = 8
  refine_epochs: int = 100
  precision: str = "float32"

  @property
  def mixed(self) -> int:
    """Images that a UDM trains on."""
    return self.normal + self.unlabelled

  @property
  def unknown_steps(self) -> int:
    """Steps of one UDM; images that do not fill a batch are dropped."""
    return self.epochs * (self.mixed // self.batch)

  @property
  def normative_steps(self) -> int:
    """Steps of one NDM."""
    return self.epochs * (self.normal // self.batch)

  @property
  def ensemble_steps(self) -> int:
    """Steps of all members."""
    return self.members * (self.unknown_steps + self.normative_steps)

  @property
  def refine_steps(self) -> int:
    """Steps of the refinement net."""
    return self.refine_epochs * (self.normal // self.refine_batch)

  def steps(self, phase: str) -> int:
    """Optimizer steps of a phase, all members together."""
    steps = {
      "ensembles": self.ensemble_steps,
      "refinement": self.refine_steps,
      "training": self.normative_steps,
    }
    return steps.get(phase, 0)

  def images(self, phase: str) -> int:
    """Images that a phase's nets train on or score, repetitions counted."""
    if phase == "evaluation":
      return self.tests
    batch = self.refine_batch if phase == "refinement" else self.batch
    return self.steps(phase) * batch

  def describe(self, phases: Sequence[str]) -> str:
    """A line on the images and the steps of these phases."""
    parts = [
      f"{phase}: {steps:,} steps of {self.images(phase) // steps}"
      for phase in phases
      if (steps := self.steps(phase))
    ]
    return (
      f"{self.normal} normal and {self.unlabelled} unlabelled training images,"
      f" {self.tests} test images, generated, of {self.size}x{self.size};"
      f" {'; '.join(parts)}; {self.precision} (PyTorch as its users run it:"
      " float32)"
    )

  def together(self) -> tuple[Part, ...]:
    """The ensembles' parts where members train in one program.

    All members until the NDM have finished, then the UDM alone.
    """
    # The UDM have more images, and so more steps an epoch.
    both, rest = self.normative_steps, self.unknown_steps - self.normative_steps
    parts = (
      Part("ensembles", f"{2 * self.members} members", both),
      Part("ensembles", f"{self.members} members", rest),
    )
    return tuple(part for part in parts if part.whole)

  def training_images(self) -> np.ndarray:
    """The normal images, then the unlabeled ones, uint8 [n h w]."""
    return generate(self.mixed, self.size, seed=0)

  def test_images(self) -> np.ndarray:
    """uint8 [n h w]."""
    return generate(self.tests, self.size, seed=1)


def generate(count: int, side: int, seed: int) -> np.ndarray:
  """Blurred squares with noise, all different, uint8 [n side side]."""
  # What is in an image does not matter to its cost. No float array is made on
  # the way: it would be the peak of a small run's memory.
  rng = np.random.default_rng(seed)
  coarse = rng.integers(0, 224, (count, 4, 4), np.uint8)
  images = coarse.repeat(-(-side // 4), 1).repeat(-(-side // 4), 2)
  images = images[:, :side, :side]
  return images + rng.integers(0, 32, images.shape, np.uint8)


def positive(text: str) -> int:
  """An option's number, 1 or more."""
  if not text.isdecimal() or not int(text):
    raise argparse.ArgumentTypeError(f"'{text}' is no whole number above 0")
  return int(text)
