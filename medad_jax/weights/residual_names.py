"""PyTorch's names of DPA's and PIAD's nets, those of `nets.residual`.

They are the same in both, and in MADDR's code, which is made of DPA's.
"""

from medad_jax.weights.conversion import CONV, POINTWISE, Module, Table

_SIDES = tuple(2**i for i in range(2, 12))


def encoder(
  torch: str = "enc.", flax: str = "net/encoder", latent_side: int = 1
) -> Table:
  """DPA's and PIAD's encoders and critics of images: `nets.residual.Encoder`.

  Args:
    torch: what their names begin with.
    flax: the scope of ours.
    latent_side: pixels a side of the code.
  """
  table = _code(torch, flax, latent_side)
  for side in _SIDES:
    first = f"{torch}model.preprocess_res_{side}"
    ours = f"{flax}/preprocess_{side}"
    table[f"{first}.0.model.0"] = Module(ours, CONV)
    for i in range(2):
      table |= _block(f"{first}.{i + 1}", f"{ours}_{i}")
    if side > latent_side:
      table |= _level(torch, flax, "down", side)
  return table


def decoder(
  torch: str = "dec.", flax: str = "net/decoder", latent_side: int = 1
) -> Table:
  """DPA's and PIAD's decoders: `nets.residual.Decoder`.

  Args:
    torch: what their names begin with.
    flax: the scope of ours.
    latent_side: pixels a side of the code.
  """
  table = _code(torch, flax, latent_side)
  for side in _SIDES:
    last = f"{torch}model.postprocess_res_{side}.1.model.0"
    table[last] = Module(f"{flax}/postprocess_{side}", CONV)
    if side > latent_side:
      table |= _level(torch, flax, "up", side)
  return table


def latent_critic(layers: int = 3) -> Table:
  """PIAD's critic of codes: `nets.residual.LatentCritic`.

  Args:
    layers: all of them.
  """
  return {
    f"edis.model.{i}.model.0": Module(f"latent_critic/dense_{i}", POINTWISE)
    for i in range(layers)
  }


def _code(torch: str, flax: str, latent_side: int) -> dict[str, Module]:
  """The layers next to the code; PyTorch counts the activations, too."""
  side = max(latent_side, 4)
  theirs, ours = f"{torch}model.res_{side}", f"{flax}/code_{side}"
  if latent_side == 1:
    return {f"{theirs}.1.model.0": Module(ours, CONV)}
  return _block(f"{theirs}.0", ours)


def _level(torch: str, flax: str, way: str, side: int) -> dict[str, Module]:
  """A resolution; PyTorch counts pooling and upsampling, too."""
  theirs, ours = f"{torch}model.res_{side}", f"{flax}/{way}_{side}"
  return {
    f"{theirs}.0.model.2.model.0": Module(f"{ours}/conv_0", CONV),
    f"{theirs}.0.model.3.model.0": Module(f"{ours}/conv_1", CONV),
    f"{theirs}.0.skipcon.1.model.0": Module(f"{ours}/skip", CONV),
    **_block(f"{theirs}.1", f"{ours}_0"),
  }


def _block(torch: str, flax: str) -> dict[str, Module]:
  """`nets.residual.Block` at one resolution."""
  return {
    f"{torch}.model.1.model.0": Module(f"{flax}/conv_0", CONV),
    f"{torch}.model.2.model.0": Module(f"{flax}/conv_1", CONV),
    f"{torch}.skipcon.model.0": Module(f"{flax}/skip", CONV),
  }
