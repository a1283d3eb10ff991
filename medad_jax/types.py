"""The central types: what a batch, a state, a phase and a method are.

Letters in shapes: b examples, h w c image, k members, z latent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
from typing import (
  Any,
  ClassVar,
  NotRequired,
  Protocol,
  TypedDict,
  runtime_checkable,
)

from flax import struct
import jax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

Params = Mapping[str, Any]  # a pytree of parameters, by part: {"net": ...}
Metrics = Mapping[str, Float[Array, ""]]
Preds = Mapping[str, Array]


class UserError(Exception):
  """A mistake a user can mend; its text is one sentence, shown as it is.

  The sentence says what was given, what was wanted and what to do. The
  binaries print it and leave with status 2, without a traceback.
  """


class Batch(TypedDict):
  """Examples on one device, for one member."""

  image: Float[Array, "b h w c"]  # [-1, 1]
  label: Int[Array, "b"]  # 0 normal, 1 abnormal, -1 unlabelled
  valid: Bool[Array, "b"]  # False on padding
  slot: Int[Array, "b"]  # position in the global batch -> per-example keys
  id: Int[Array, "b"]  # row of the data set
  source: NotRequired[Float[Array, "b h w c"]]  # a second image of the pool
  anatomy: NotRequired[Bool[Array, "b h w"]]  # where an organ is


@dataclasses.dataclass(frozen=True)
class Axis:
  """Where the batch is split: what a step needs to act on the global batch.

  `Axis()` is the whole batch on one device. `groups` are the device groups
  that share one batch, for mappings whose only axis numbers all devices.
  """

  name: str | None = None
  size: int = 1
  groups: tuple[tuple[int, ...], ...] | None = None

  def mean(self, tree: Any) -> Any:
    """Mean over the devices that hold the other parts of the batch."""
    if self.name is None or self.size == 1:
      return tree
    return jax.lax.pmean(tree, self.name, axis_index_groups=self.groups)

  def min(self, tree: Any) -> Any:
    """Minimum over the devices that hold the other parts of the batch."""
    if self.name is None or self.size == 1:
      return tree
    return jax.lax.pmin(tree, self.name, axis_index_groups=self.groups)


@struct.dataclass
class TrainState:
  """One member of one phase; arrays only.

  Attributes:
    step: optimiser steps taken so far.
    params: trainable parameters.
    extra: everything else that changes, such as running statistics.
    opt: the optimiser's state.
    key: the member's root key, never advanced: a step folds in its number.
  """

  # Not annotated by shape: leaves are arrays, their shapes or their shardings.
  step: Any  # int32 [] or, for all members, [k]
  params: Any
  extra: Any
  opt: Any
  key: Any  # typed PRNG key, [] or [k]


@dataclasses.dataclass(frozen=True)
class Context:
  """What a loss knows besides parameters and examples.

  Attributes:
    key: this step's key; fold in a name, and a slot for per-example draws.
    step: optimiser steps taken before this one.
    epoch_steps: steps that make a pass over the member's pool.
    axis: where the batch is split.
    frozen: the final states of earlier phases by name, all members of this
      member's seed (k first).
  """

  key: PRNGKeyArray
  step: Int[Array, ""]
  epoch_steps: Int[Array, ""]
  axis: Axis = Axis()
  frozen: Mapping[str, TrainState] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Training:
  """How long and with which optimiser a phase trains.

  Attributes:
    epochs: passes over a member's own pool, or `epoch_steps` each.
    batch_size: examples a step, over all devices.
    learning_rate: the first epoch's.
    optimizer: "adam" or "sgd".
    b1: decay of Adam's first moment; SGD's momentum.
    b2: decay of Adam's second moment.
    weight_decay: L2 added to the gradient before the moments (not AdamW).
    grad_clip: largest global gradient norm, None for no clipping.
    final_rate: where the rate would be after the last epoch, on half a cosine
      that falls from epoch to epoch; None for a constant rate.
    rate_lag: epochs that the falling rate stays behind.
    drop_last: whether the last images of a pass that do not fill a batch are
      left out; otherwise they are a smaller step of their own.
    pass_rows: images of a pass: the pool's first, again and again where it has
      fewer; None for the pool as it is.
    epoch_steps: steps that are called an epoch; None for those of a pass.
  """

  epochs: int
  batch_size: int
  learning_rate: float
  optimizer: str = "adam"
  b1: float = 0.9
  b2: float = 0.999
  weight_decay: float = 0.0
  grad_clip: float | None = None
  final_rate: float | None = None
  rate_lag: int = 0
  drop_last: bool = True
  pass_rows: int | None = None
  epoch_steps: int | None = None


# (key, image shape) -> params, extra; written for ONE member.
Init = Callable[[PRNGKeyArray, tuple[int, int, int]], tuple[Any, Any]]
# (params, extra, batch, context) -> loss, (extra, metrics); ONE member. The
# loss is the mean over this device's examples: the engine averages devices.
Loss = Callable[
  [Any, Any, Batch, Context], tuple[Float[Array, ""], tuple[Any, Metrics]]
]
# (params, extra, context) -> params, extra; ONE member, after its step.
Amend = Callable[[Any, Any, Context], tuple[Any, Any]]
# uint8 images [n h w c] -> arrays [n ...] by their names in `Batch`.
Prepare = Callable[[Any], Mapping[str, Any]]
# (state, normal images, key) -> image scores "normal" and "synthetic", each
# [b], of the images and of anomalies made from them; ONE member.
Validate = Callable[[TrainState, Batch, PRNGKeyArray], Mapping[str, Array]]


@dataclasses.dataclass(frozen=True)
class Phase:
  """A stretch of training in which all members share one program.

  Attributes:
    name: key of the phase's states, folder of its checkpoints.
    training: length and optimiser.
    pools: for each member, the name of the rows it trains on.
    init: makes one member's parameters.
    loss: one member's loss.
    amend: what happens to a member after each optimizer step besides the step,
      such as drawing weights anew; None for nothing.
    shared: True when the states belong to `score` (one net for the whole
      ensemble) and not to `predict` (one net a member).
    sources: True when a batch needs `source`, a second image of the pool.
    prepare: what else a batch holds of each image, made once, on the host;
      None for nothing.
    validate: scores of held-out normal images and of synthetic anomalies; None
      where the method makes none.
    looped: whether steps may follow one another inside a compiled program. On
      CPUs, XLA's gradients of convolutions are several times slower there:
      False for nets of library convolutions.
    weights: parts of the parameters that are "imported" (pretrained weights of
      that name take their place) or stay "random" in their stead.
  """

  name: str
  training: Training
  pools: tuple[str, ...]
  init: Init
  loss: Loss
  amend: Amend | None = None
  shared: bool = False
  sources: bool = False
  prepare: Prepare | None = None
  validate: Validate | None = None
  looped: bool = True
  weights: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    for origin in self.weights.values():
      if origin not in ("imported", "random"):
        raise UserError(
          f"model.weights='{origin}' was given; set it to 'imported', or to"
          " 'random' to try the program without them"
        )

  @property
  def members(self) -> int:
    """How many there are."""
    return len(self.pools)


@dataclasses.dataclass(frozen=True)
class Fit:
  """A stage in closed form: an estimate from features of all rows of a pool.

  Its state has the estimate as `params`; the rest of it is empty.

  Attributes:
    name: key of the stage's states, folder of its checkpoint.
    pools: for each member, the name of the rows it sees.
    features: (states of earlier phases by name, batch) -> [b d]; ONE member.
    estimate: features [n d] -> arrays by name, on the host; ONE member.
  """

  name: str
  pools: tuple[str, ...]
  features: Callable[[Mapping[str, TrainState], Batch], Float[Array, "b d"]]
  estimate: Callable[[Any], Mapping[str, Any]]

  shared: ClassVar[bool] = False

  @property
  def members(self) -> int:
    """How many there are."""
    return len(self.pools)


@struct.dataclass
class Scores:
  """What a method says of a batch; higher is more abnormal.

  Attributes:
    image: image scores by name, each [b].
    maps: pixel maps by name, each [b, h, w]; may be empty.
    reconstruction: what the method thinks healthy looks like [b, h, w, c], or
      None where it cannot tell.
  """

  image: Mapping[str, Any]
  maps: Mapping[str, Any]
  reconstruction: Any = None


@runtime_checkable
class Method(Protocol):
  """A way to find anomalies; a frozen dataclass of hyper-parameters."""

  @property
  def score_names(self) -> tuple[str, ...]:
    """Names of the image scores as they are shown; the last is the headline."""
    ...

  def phases(self) -> tuple[Phase | Fit, ...]:
    """What to train or to estimate, in order."""
    ...

  def predict(self, states: Mapping[str, TrainState], batch: Batch) -> Preds:
    """One member's view of a batch, from its states of the unshared phases.

    An array named "latent", [b ...], is its code of each image: evaluations
    draw it and can save it.
    """
    ...

  def score(
    self, preds: Preds, batch: Batch, fitted: Mapping[str, TrainState]
  ) -> Scores:
    """Scores from all members' views (k first) and the shared phases."""
    ...
