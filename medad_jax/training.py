"""Hyper-parameters of training: length, optimizer and learning rate."""

import dataclasses
from typing import Literal

from medad_jax.ranges import (
  Amount,
  Count,
  FinalRate,
  Momentum,
  Positive,
  Rate,
  Weight,
)


@dataclasses.dataclass(frozen=True)
class Length:
  """The length of a phase and the size of its batches.

  Attributes:
    epochs: passes over a member's own pool, or `epoch_steps` steps each.
    batch_size: examples a step, over all devices.
    steps: optimizer steps of every member; None for `epochs`.
    drop_last: whether the last images of a pass that do not fill a batch are
      left out; otherwise they are a smaller step of their own.
    pass_rows: images of a pass: the pool's first, repeated where it has fewer;
      None for the whole pool.
    epoch_steps: steps that are called an epoch; None for those of a pass.
  """

  epochs: Amount = 250
  batch_size: Count = 64
  steps: Amount | None = None
  drop_last: bool = True
  pass_rows: Count | None = None
  epoch_steps: Count | None = None


@dataclasses.dataclass(frozen=True)
class Schedule:
  """The learning rate's change from epoch to epoch.

  Attributes:
    kind: "constant"; "cosine" (half a cosine to `final_rate`); "step" (times
      `factor` after every `every` epochs) or "multistep" (times `factor` after
      each epoch in `at`).
    final_rate: where the cosine would be after the last epoch.
    lag: epochs that the cosine stays behind.
    every: epochs between two falls of "step".
    at: epochs after which "multistep" falls.
    factor: of each fall.
  """

  kind: Literal["constant", "cosine", "step", "multistep"] = "constant"
  final_rate: FinalRate = 0.0
  lag: Amount = 0
  every: Count = 30
  at: tuple[Count, ...] = ()
  factor: Positive = 0.1


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """An optimizer and its numbers; the names are those of torch.optim.

  Attributes:
    algorithm: "adam", "sgd" (heavy-ball momentum) or "rmsprop"; "tf_adam" and
      "tf_rmsprop" as TensorFlow 1 computes them.
    learning_rate: of the first epoch.
    b1: decay of Adam's first moment.
    b2: decay of Adam's second moment, and of RMSProp's only one.
    eps: added to the root of the second moment; of "tf_adam" before the
      moments are corrected, of "tf_rmsprop" inside the root.
    momentum: of SGD and RMSProp.
    weight_decay: L2 added to the gradient before the moments (not AdamW).
    grad_clip: largest global norm of the gradient; None for no clipping.
    schedule: how the rate changes.
  """

  algorithm: Literal["adam", "sgd", "rmsprop", "tf_adam", "tf_rmsprop"] = "adam"
  learning_rate: Rate = 1e-3
  b1: Momentum = 0.9
  b2: Momentum = 0.999
  eps: Positive = 1e-8
  momentum: Momentum = 0.9
  weight_decay: Weight = 0.0
  grad_clip: Positive | None = None
  schedule: Schedule = Schedule()
