"""PyTorch's names of f-AnoGAN, of GANomaly's and MemAE's own nets.

f-AnoGAN's own code is in TensorFlow; the names here are this project's.
GANomaly's (Akcay et al., ACCV 2018) and MemAE's (Gong et al., ICCV 2019) are
their own.
"""

from collections.abc import Sequence

from medad_jax.weights.conversion import (
  BATCH_NORM,
  CONV,
  CONV_TRANSPOSED,
  DENSE,
  MEMORY,
  NORM,
  Module,
  Table,
)

_BLOCKS = range(1, 10)  # more than any size of images has


def fanogan() -> Table:
  """f-AnoGAN's nets: "gan/generator", "gan/critic" and "train/net"."""
  return {
    **_residual("generator", "gan/generator", BATCH_NORM, ("input", "output")),
    **_residual("discriminator", "gan/critic", NORM, ("output", "input")),
    **_residual("encoder", "train/net", BATCH_NORM, ("output", "input")),
  }


def ganomaly_original(side: int, width: int, channels: int, z: int) -> Table:
  """GANomaly's own nets: `nets.dcgan`, under "net" and "disc".

  PyTorch's names have the channels of the layers in them.

  Args:
    side: of the images.
    width: channels of the first layer.
    channels: of the images.
    z: length of the code.
  """
  widths = [width]
  while side > 8:  # 4x4 pixels are left for the last convolution
    side //= 2
    widths.append(2 * widths[-1])
  table = {
    **_pyramid("netg.encoder1.main.", "net/encoder", widths, channels),
    **_inverse("netg.decoder.main.", "net/decoder", widths, channels, z),
    **_pyramid("netg.encoder2.main.", "net/second_encoder", widths, channels),
    "netd.features.0": Module("disc/Conv4x4_0", CONV),
    "netd.classifier.0": Module(f"disc/Conv4x4_{len(widths)}", CONV),
  }
  for level in range(1, len(widths)):
    place = 3 * level - 1
    table[f"netd.features.{place}"] = Module(f"disc/Conv4x4_{level}", CONV)
    table[f"netd.features.{place + 1}"] = Module(
      f"disc/BatchNorm_{level - 1}", BATCH_NORM
    )
  return table


def memory_autoencoder(levels: int) -> Table:
  """MemAE's own net: `nets.memory_autoencoder`.

  Args:
    levels: halvings of the sides.
  """
  table = {"mem_rep.memory": Module("memory", MEMORY)}
  for side, name in enumerate(("encoder", "decoder")):
    kind = CONV_TRANSPOSED if side else CONV
    for level in range(levels):
      place = level + levels * side
      table[f"{name}.{3 * level}"] = Module(f"Conv3x3_{place}", kind)
      table[f"{name}.{3 * level + 1}"] = Module(
        f"BatchNorm_{place}", BATCH_NORM
      )
  return table


def _residual(torch: str, flax: str, norm, ends: Sequence[str]) -> Table:
  """One of f-AnoGAN's nets; `ends` are its dense layer and its convolution."""
  dense, conv = ends
  table = {
    f"{torch}.{dense}": Module(f"{flax}/{dense}", DENSE),
    f"{torch}.{conv}": Module(f"{flax}/{conv}", CONV),
    f"{torch}.output_norm": Module(f"{flax}/output_norm", norm),
  }
  for i in _BLOCKS:
    for layer, kind in (
      *(("norm1", norm), ("norm2", norm)),
      *(("shortcut", CONV), ("conv1", CONV), ("conv2", CONV)),
    ):
      table[f"{torch}.res{i}.{layer}"] = Module(f"{flax}/res{i}/{layer}", kind)
  return table


def _pyramid(
  torch: str, flax: str, widths: list[int], channels: int
) -> dict[str, Module]:
  """`nets.dcgan.Encoder`."""
  first, last = widths[0], widths[-1]
  table = {
    f"{torch}initial-conv-{channels}-{first}": Module(f"{flax}/Conv4x4_0", CONV)
  }
  for i, (given, made) in enumerate(zip(widths, widths[1:], strict=False)):
    table[f"{torch}pyramid-{given}-{made}-conv"] = Module(
      f"{flax}/Conv4x4_{i + 1}", CONV
    )
    table[f"{torch}pyramid-{made}-batchnorm"] = Module(
      f"{flax}/BatchNorm_{i}", BATCH_NORM
    )
  # Named after the discriminator's one number, here too.
  table[f"{torch}final-{last}-1-conv"] = Module(
    f"{flax}/Conv4x4_{len(widths)}", CONV
  )
  return table


def _inverse(
  torch: str, flax: str, widths: list[int], channels: int, z: int
) -> dict[str, Module]:
  """`nets.dcgan.Decoder`."""
  first, *rest = widths[::-1]
  steps = [f"initial-{z}-{first}-convt"]
  norms = [f"initial-{first}-batchnorm"]
  for given, made in zip([first, *rest], rest, strict=False):
    steps.append(f"pyramid-{given}-{made}-convt")
    norms.append(f"pyramid-{made}-batchnorm")
  steps.append(f"final-{widths[0]}-{channels}-convt")
  return {
    **{
      f"{torch}{name}": Module(f"{flax}/Conv4x4_{i}", CONV_TRANSPOSED)
      for i, name in enumerate(steps)
    },
    **{
      f"{torch}{name}": Module(f"{flax}/BatchNorm_{i}", BATCH_NORM)
      for i, name in enumerate(norms)
    },
  }
