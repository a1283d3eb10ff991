"""The generated data set as files: slices of heads, no download.

Training needs no such files: `medad_jax.data.spec` renders the set itself.
"""

from collections.abc import Iterator, Mapping, Sequence

from data_builders import base
from medad_jax.data.phantom import slices


class Builder(base.SetBuilder, skip_registration=True):
  """Axial T1-like slices of generated heads; abnormal means a lesion.

  Anatomy, coil shading, contrast and noise vary; lesions are of six kinds,
  sizes and contrasts, with exact masks. No image comes from a patient.
  """

  LICENSE = "Apache-2.0, as the program that generates them"

  def find(self) -> Mapping[str, list[base.Row]]:
    """Names that carry the scans' numbers; nothing is read."""
    return {
      split: [base.Row(name, label) for name, label in rows]
      for split, rows in slices.rows().items()
    }

  def has_masks(self) -> bool:
    """Every scan has a mask."""
    return True

  def encode(self, rows: Sequence[base.Row]) -> Iterator[base.Encoded]:
    """Renders the rows in processes of their own."""
    return slices.encode([(row.name, row.label) for row in rows])
