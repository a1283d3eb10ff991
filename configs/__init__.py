"""Values only: each file has get_config(arg) -> ml_collections.ConfigDict."""
