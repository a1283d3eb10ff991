"""One TFDS builder a data set; `python -m medad_jax.build` runs them."""
