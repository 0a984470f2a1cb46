"""All kernels of a process: how they are made, found, prewarmed, culled and stopped."""
