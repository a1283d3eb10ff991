"""One file a method; the module name is what a configuration names."""
