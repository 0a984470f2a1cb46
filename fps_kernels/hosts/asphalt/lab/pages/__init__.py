"""What `fps-kernels lab` answers in the place of Jupyverse's plugins for JupyterLab, by the libraries of JupyterLab.

A user of `jupyter lab` finds the same settings, workspaces, pages, exports and terminals: they are in the same folders,
and are read and checked by the same code. The plugins stay as they are; whoever disables one disables this, too.
"""
