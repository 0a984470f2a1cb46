"""Jupyverse from 0.7 on, which runs FPS modules: the module, and its plugin's value."""
