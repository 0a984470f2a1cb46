"""The headless server: the command `fps-kernels`, in the place of Jupyter Kernel Gateway."""
