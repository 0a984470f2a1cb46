"""The command `fps-kernels run`: a notebook is executed, and saved with its outputs."""
