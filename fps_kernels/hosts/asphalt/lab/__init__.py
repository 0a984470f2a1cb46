"""JupyterLab with all installed Jupyverse plugins, on a server of our own: the command `fps-kernels lab`."""
