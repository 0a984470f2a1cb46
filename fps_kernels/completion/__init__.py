"""The command `fps-kernels completion`: scripts by which shells complete the words of `fps-kernels`."""
