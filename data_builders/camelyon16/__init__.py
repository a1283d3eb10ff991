"""Camelyon16, from slides to patches, in the nine steps of DPA's authors.

Polygons of the annotations (`annotation.py`), tumor masks (`tumor_mask.py`),
places of normal and of tumor patches (`tissue.py`), the stains of a target
slide (`dictionary.py`), normalization to them (`stain.py`), lists
(`patch_lists.py`) and three magnifications (`magnification.py`). All steps of a
slide are one task (`task.py`); `tasks.py` runs them over processes, and
`on_beam.py` on a cluster.
"""
