"""Which tuning methods fit into the memory of a GPU, foretold without one."""
