"""PyTorch's names of the modules of vision transformers, as in `names`."""

from medad_jax.nets import vit
from medad_jax.weights.conversion import (
  CONV,
  DENSE,
  NORM,
  Kind,
  Layout,
  Leaf,
  Module,
  Table,
)

_TOKENS: Kind = {
  "cls_token": Leaf("params", "cls", Layout((0, 1, 2), 3)),
  "position_embeddings": Leaf("params", "positions", Layout((0, 1, 2), 3)),
}


def dinov2() -> Table:
  """The net `Dinov2Model` of transformers: `nets.vit.VisionTransformer`."""
  table = {
    "embeddings": Module("", _TOKENS),
    "embeddings.patch_embeddings.projection": Module("embed", CONV),
    "layernorm": Module("norm", NORM),
  }
  for number in range(vit.DEPTH):
    theirs, ours = f"encoder.layer.{number}", f"block{number}"
    table |= {
      f"{theirs}.attention.attention.{name}": Module(f"{ours}/{name}", DENSE)
      for name in ("query", "key", "value")
    }
    table |= {
      f"{theirs}.attention.output.dense": Module(f"{ours}/out", DENSE),
      f"{theirs}.mlp.fc1": Module(f"{ours}/fc1", DENSE),
      f"{theirs}.mlp.fc2": Module(f"{ours}/fc2", DENSE),
    }
    for half in (1, 2):
      scale = {"lambda1": Leaf("params", f"scale{half}", Layout((0,), 1))}
      table[f"{theirs}.norm{half}"] = Module(f"{ours}/norm{half}", NORM)
      table[f"{theirs}.layer_scale{half}"] = Module(ours, scale)
  return table
