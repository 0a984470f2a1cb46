"""The files of a lab: Jupyter Server's contents manager, under the routes and for the plugins of Jupyverse."""
