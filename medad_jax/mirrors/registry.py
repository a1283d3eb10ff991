"""The twins that there are, by method."""

from typing import Any

from medad_jax.methods import (
  _adversarial,
  _one_stage,
  _perceptual,
  _reconstruction,
  _two_stage,
  ddad,
  fanogan,
  ra,
)
from medad_jax.mirrors import ensembles, others, twins
from medad_jax.types import UserError

# The first that fits: GANomaly and DPA are reconstructions, too.
_KINDS: tuple[tuple[type, Any], ...] = (
  (ddad.Method, ensembles.Ddad),
  (_adversarial.Adversarial, others.Ganomaly),
  (_perceptual.Perceptual, others.Residual),
  (_reconstruction.Reconstruction, twins.reconstruction),
  (_one_stage.OneStage, others.OneStage),
  (_two_stage.TwoStage, others.TwoStage),
  (ra.Method, others.Reversed),
  (fanogan.Method, others.Fanogan),
)


def twin(method: Any, name: str, shape: tuple[int, int, int]) -> twins.Twin:
  """The twin of a method.

  Args:
    method: of any kind.
    name: of it.
    shape: height, width and channels of the images.

  Raises:
    UserError: there is none.
  """
  for kind, make in _KINDS:
    if isinstance(method, kind):
      return make(method, shape)
  raise UserError(
    f"there is no net of {name} in PyTorch to compare with; leave --verify out."
  )
