"""PyTorch's names of the modules of EfficientNet-lite, as in `names`."""

from medad_jax.nets import efficientnet
from medad_jax.weights.conversion import (
  BATCH_NORM,
  CONV_KERNEL,
  DENSE,
  POINTWISE_KERNEL,
  Module,
  Table,
)


def efficientnet_lite0() -> Table:
  """efficientnet-lite-pytorch's net: `nets.efficientnet.EfficientNetLite0`."""
  table = {
    "_conv_stem": Module("stem", CONV_KERNEL),
    "_bn0": Module("stem", BATCH_NORM),
  }
  for number in range(len(efficientnet.BLOCKS)):
    for place, (layer, kind) in enumerate(
      (
        ("expand", POINTWISE_KERNEL),
        ("depthwise", CONV_KERNEL),
        ("project", POINTWISE_KERNEL),
      )
    ):
      theirs, ours = f"_blocks.{number}", f"block{number}/{layer}"
      table[f"{theirs}._{layer}_conv"] = Module(ours, kind)
      table[f"{theirs}._bn{place}"] = Module(ours, BATCH_NORM)
  return table | {
    "_conv_head": Module("head", POINTWISE_KERNEL),
    "_bn1": Module("head", BATCH_NORM),
    "_fc": Module("fc", DENSE),
  }
