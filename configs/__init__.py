"""Configurations: get_config(arg) -> ml_collections.ConfigDict.

A method's dataclass has the defaults (`medad_jax.engine.config.defaults`).
"""
