"""All kernels of a process: how they are made, found, kept ready, culled and stopped."""
