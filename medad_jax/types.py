"""The central types: batches, states, stages and methods.

Letters in shapes: b examples, h w c image, k members, z latent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
from typing import (
  Any,
  ClassVar,
  Literal,
  NamedTuple,
  NotRequired,
  Protocol,
  TypedDict,
  runtime_checkable,
)

from flax import struct
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from medad_jax.axis import Axis as Axis
from medad_jax.training import Length

Params = Mapping[str, Any]  # a pytree of parameters, by part: {"net": ...}
Metrics = Mapping[str, Float[Array, ""]]
Preds = Mapping[str, Array]


class UserError(Exception):
  """A mistake a user can fix; its text is one sentence, shown as it is.

  The sentence says what was given, what was wanted and what to do. The
  binaries print it and leave with status 2, without a traceback.
  """


class Batch(TypedDict):
  """Examples on one device, for one member.

  A phase with `Inputs.batches` above 1 gets that many, along a leading axis.
  Columns of the data set that a phase asks for are further entries, each [b].
  """

  image: Float[Array, "b h w c"]  # [-1, 1]
  label: Int[Array, "b"]  # 0 normal, 1 abnormal, -1 unlabeled
  valid: Bool[Array, "b"]  # False on padding
  slot: Int[Array, "b"]  # position in the global batch -> per-example keys
  id: Int[Array, "b"]  # row of the data set
  source: NotRequired[Float[Array, "b h w c"]]  # a second image of the pool
  copy: NotRequired[Int[Array, "b"]]  # which of an image's copies it is
  anatomy: NotRequired[Bool[Array, "b h w"]]  # where an organ is


@struct.dataclass
class TrainState:
  """One member of one phase; arrays only.

  Attributes:
    step: optimizer steps taken so far.
    params: trainable parameters.
    extra: everything else that changes, such as running statistics.
    opt: the optimizer's state.
    key: the member's root key, never advanced: a step folds in its number.
  """

  # Not annotated by shape: leaves are arrays, their shapes or their shardings.
  step: Any  # int32 [] or, for all members, [k]
  params: Any
  extra: Any
  opt: Any
  key: Any  # typed PRNG key, [] or [k]


@struct.dataclass
class Context:
  """Everything that a step knows besides its state and its batch.

  Attributes:
    key: this step's key; fold in a name, and a slot for per-example draws.
    step: optimizer steps taken before this one.
    epoch_steps: steps that make an epoch of this member.
    epochs: of this member's whole phase.
    axis: where the batch is split.
    own: by stage, the final state of this member's predecessor in the stages
      that the phase reads: the member of the same pool and place, or the only
      member of a stage that has one.
    ensemble: by stage, the final states of all members (k first) of this
      member's trial in the stages that the phase reads.
  """

  # Not annotated by shape: leaves are arrays or, for `vmap`, their axes.
  key: Any  # typed PRNG key []
  step: Any  # int32 []
  epoch_steps: Any  # int32 []
  epochs: Any  # int32 []
  axis: Axis = struct.field(pytree_node=False, default=Axis())
  own: Any = struct.field(default_factory=dict)
  ensemble: Any = struct.field(default_factory=dict)

  @property
  def epoch(self) -> Int[Array, ""]:
    """Epochs completed before this step."""
    return self.step // self.epoch_steps

  @property
  def epoch_ends(self) -> Bool[Array, ""]:
    """True if this step is the last one of its epoch."""
    return (self.step + 1) % self.epoch_steps == 0


@dataclasses.dataclass(frozen=True)
class Pool:
  """Rows of the data set that a member trains on.

  Attributes:
    name: names the pool, and with it the random streams of its members.
    splits: by split, how many of its first rows; None for all. Of several
      sets that are trained jointly these hold each set's share.
    truncate: whether a split with fewer rows than that gives those it has.
    advice: what a user should change where a split has too few.
    folds: which parts of its rows it has, of `of` equal ones that take turns;
      rows of one patient are in one part.
    of: the number of parts.
  """

  name: str
  splits: Mapping[str, int | None]
  truncate: bool = False
  advice: str = ""
  folds: tuple[int, ...] = (0,)
  of: int = 1

  def __hash__(self) -> int:
    return hash((self.name, tuple(self.splits.items()), self.folds, self.of))


NORMAL = Pool("normal", {"train": None})

# (key, image shape) -> params, extra; ONE member.
Init = Callable[[PRNGKeyArray, tuple[int, int, int]], tuple[Any, Any]]
# (params, extra, batch, context) -> loss, (extra, metrics); ONE member. The
# loss is the mean over this device's examples: the step averages devices.
Loss = Callable[
  [Any, Any, Batch, Context], tuple[Float[Array, ""], tuple[Any, Metrics]]
]
# uint8 images [n h w c] as stored -> arrays [n ...] by their names in `Batch`.
Prepare = Callable[[Any], Mapping[str, Any]]
# (function, rows [n ...]) -> its results, on the host. It is called with a part
# of the rows, their numbers (-1 is padding) and an axis; all devices agree.
Spread = Callable[[Callable[[Array, Array, Axis], Any], Any], Any]


@runtime_checkable
class Step(Protocol):
  """One member's optimizer step; `medad_jax.steps` has the usual kinds."""

  def start(self, params: Any) -> Any:
    """The optimizer's state before the first step."""
    ...

  def __call__(
    self, state: TrainState, batch: Batch, context: Context
  ) -> tuple[TrainState, Metrics]:
    """The state after the step, and metrics: "loss" and whatever else."""
    ...


@dataclasses.dataclass(frozen=True)
class Inputs:
  """Everything that a step needs besides one batch of images.

  Attributes:
    source: whether every example has `source`, a second image of its pool.
    batches: fresh batches a step.
    copies: of each image. With several, a pass is over all pairs of an image
      and the number of a copy, which is a batch's "copy"; the step makes of it
      what it likes.
    prepare: what else a batch holds of each image, made once, on the host. An
      array [n h w ...] of the images' sides is moved with their views.
    columns: columns of the data set that a batch holds, as whole numbers: the
      place of a text among those of the training images, in their order; -1
      at evaluation for one that training did not see.
    classes: for each of `columns`, how many texts it may have, all of them
      known; empty for any number.
  """

  source: bool = False
  batches: int = 1
  copies: int = 1
  prepare: Prepare | None = None
  columns: tuple[str, ...] = ()
  classes: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Monitor:
  """A measurement of held-out normal images during training.

  Attributes:
    label: names the number in metrics.jsonl.
    values: (state, batch, key) -> values [b] by name; ONE member.
    summary: values [n] by name, on the host -> the number.
    higher_is_better: whether the best is the greatest.
  """

  label: str
  values: Callable[[TrainState, Batch, PRNGKeyArray], Mapping[str, Array]]
  summary: Callable[[Mapping[str, Any]], float]
  higher_is_better: bool


@dataclasses.dataclass(frozen=True)
class Phase:
  """A stage that is trained step by step; its members share one program.

  Attributes:
    name: key of the stage's states, folder of its checkpoints.
    length: epochs or steps, and the batches' size.
    pools: for each member, the rows it trains on.
    init: makes one member's parameters.
    step: one member's step.
    inherit: (params, extra, own) -> params, extra: takes over weights of
      earlier stages, which `reads` names; None to start from `init` alone.
    reads: earlier stages whose states `step` and `inherit` need; only these
      are placed on the devices.
    shared: True when the states belong to `score` (one net for the whole
      ensemble) and not to `predict` (one net a member).
    inputs: everything that a step needs besides one batch of images.
    monitors: measurements of held-out images, by name.
    looped: whether steps may follow one another inside a compiled loop. On
      CPUs, XLA's gradients of convolutions are several times slower there:
      False for nets of library convolutions.
    made_of: values that decide the states besides data, seeds, rows and the
      stages in `reads`, so that another run's can be reused; None for all
      fields of the method.
  """

  name: str
  length: Length
  pools: tuple[Pool, ...]
  init: Init
  step: Step
  inherit: Callable[[Any, Any, Mapping[str, TrainState]], Any] | None = None
  reads: tuple[str, ...] = ()
  shared: bool = False
  inputs: Inputs = Inputs()
  monitors: Mapping[str, Monitor] = dataclasses.field(default_factory=dict)
  looped: bool = True
  made_of: Any = None

  @property
  def members(self) -> int:
    """The number of members."""
    return len(self.pools)


@dataclasses.dataclass(frozen=True)
class Fit:
  """A stage in closed form: an estimate from features of all rows of a pool.

  Its state has the estimate as `params`; the rest of it is empty.

  Attributes:
    name: key of the stage's states, folder of its checkpoint.
    pools: for each member, the rows it sees.
    features: (own states of the stages in `reads`, batch) -> pytree [b ...];
      ONE member.
    estimate: an iterator of features [n ...], batch after batch -> arrays by
      name, on the host; ONE member.
    reads: earlier stages that `features` needs.
    draws: whether `estimate` draws at random; it is then called with the seed
      of the member's trial as its second argument.
    spreads: whether `estimate` has a last argument, a `Spread`, to use devices.
    made_of: as in `Phase`.
  """

  name: str
  pools: tuple[Pool, ...]
  features: Callable[[Mapping[str, TrainState], Batch], Any]
  estimate: Callable[..., Mapping[str, Any]]
  reads: tuple[str, ...] = ()
  draws: bool = False
  spreads: bool = False
  made_of: Any = None

  shared: ClassVar[bool] = False

  @property
  def members(self) -> int:
    """The number of members."""
    return len(self.pools)


Origin = Literal["imported", "random"]


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """A stage of imported networks: one copy, whatever the number of members.

  They are saved with the checkpoints, so evaluation needs no other files.

  Attributes:
    name: key of the stage's state, folder of its checkpoint.
    init: makes random parameters of the same shapes.
    origins: by part of the parameters, "imported" (weights of that name take
      its place) or "random".
    shared: whether the state belongs to `score` and not to `predict`.
  """

  name: str
  init: Init
  origins: Mapping[str, Origin]
  shared: bool = False

  pools: ClassVar[tuple[Pool, ...]] = (NORMAL,)
  members: ClassVar[int] = 1


Stage = Phase | Fit | Pretrained


class Along(NamedTuple):
  """A field of a method whose values one run can compare.

  A method names it as its attribute `along`, for searches.

  Attributes:
    field: the field.
    several: the field that takes several of its values, each for a score.
    score: the name of a value's score, with {} for the value.
  """

  field: str
  several: str
  score: str


@struct.dataclass
class Scores:
  """A method's scores of a batch; higher is more abnormal.

  Attributes:
    image: image scores by name, each [b].
    maps: pixel maps by name, each [b, h, w]; may be empty.
    reconstruction: what the method thinks healthy looks like [b, h, w, c], or
      None where it cannot tell.
    distances: of images and reconstructions, each [b], such as "lpips_alex".
    draws: the same of each random draw that scores are means of, [b, d, ...].
  """

  image: Mapping[str, Any]
  maps: Mapping[str, Any]
  reconstruction: Any = None
  distances: Mapping[str, Any] = struct.field(default_factory=dict)
  draws: "Scores | None" = None


@runtime_checkable
class Method(Protocol):
  """An anomaly detection method; a frozen dataclass of hyper-parameters."""

  @property
  def score_names(self) -> tuple[str, ...]:
    """Names of the image scores as they are shown; the last is the headline."""
    ...

  def phases(self) -> tuple[Stage, ...]:
    """The stages, in order."""
    ...

  def predict(self, states: Mapping[str, TrainState], batch: Batch) -> Preds:
    """One member's view of a batch, from its own states.

    Args:
      states: by stage, the member's state of every stage that is not shared;
        of a stage with one member, that one's.
      batch: the images.

    Returns:
      Arrays by name, for `score`. One named "latent", [b ...], is the code of
      each image: an evaluation draws it and can save it.
    """
    ...

  def score(
    self, preds: Preds, batch: Batch, fitted: Mapping[str, TrainState]
  ) -> Scores:
    """Scores from all members' views.

    Args:
      preds: of all members, k first.
      batch: the images.
      fitted: states of the shared stages, members first.
    """
    ...
