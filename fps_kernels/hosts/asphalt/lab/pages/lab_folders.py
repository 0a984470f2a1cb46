"""The folders of JupyterLab: those that `jupyter lab` has, too."""

from __future__ import annotations

from dataclasses import dataclass

from jupyter_core.paths import jupyter_path


@dataclass(frozen=True, slots=True)
class LabFolders:
    """Where JupyterLab is, and what its users keep.

    app: the application. user_settings, workspaces: the user's own.
    """

    app: str
    user_settings: str
    workspaces: str

    @classmethod
    def find(cls, *, dev_mode: bool) -> LabFolders:
        """By the environment and the installation. dev_mode: of JupyterLab's developers, in its sources."""
        from jupyterlab import commands as jupyterlab  # type: ignore[import-untyped]  # it has no types

        app = jupyterlab.DEV_DIR if dev_mode else jupyterlab.get_app_dir()
        return cls(app, jupyterlab.get_user_settings_dir(), jupyterlab.get_workspaces_dir())

    @property
    def app_settings(self) -> str:
        """What an administrator has set for all users."""
        return f"{self.app}/settings"

    @property
    def schemas(self) -> str:
        return f"{self.app}/schemas"

    @property
    def static(self) -> str:
        return f"{self.app}/static"

    @property
    def themes(self) -> str:
        return f"{self.app}/themes"

    @property
    def labextensions(self) -> list[str]:
        """Where extensions are that need no build; the first one counts. New ones may come while the server runs."""
        return list(jupyter_path("labextensions"))
