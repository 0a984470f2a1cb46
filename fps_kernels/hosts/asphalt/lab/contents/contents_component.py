"""The plugin `contents` of a lab, in place of fps-contents."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from asphalt.core import Component, Context, context_teardown
from jupyverse_api.app import App
from jupyverse_api.auth import Auth
from jupyverse_api.contents import Contents
from jupyverse_api.frontend import FrontendConfig
from jupyverse_api.yjs import Yjs

from .....errors import BadOption
from .....tasks import TaskSet
from .contents_plugin import _Contents
from .file_calls import FileCalls
from .file_ids import FileIds

if TYPE_CHECKING:
    from .....execution.fps_yjs.saving import Saver

OPTIONS = {"allow_hidden": bool, "delete_to_trash": bool, "always_delete_dir": bool, "max_copy_folder_size_mb": int}
"""Those of Jupyter Server's FileContentsManager that may be set here, by the same names."""
CLOSE_TIMEOUT_S = 5.0
"""Time for saves that have begun when the server ends."""


class ContentsComponent(Component):
    """Publishes `Contents`: the files below the current folder.

    options: see OPTIONS. Raises BadOption.
    """

    def __init__(self, **options: Any) -> None:
        check_options(options)
        self._options = options

    @context_teardown
    async def start(self, ctx: Context) -> AsyncGenerator[None, BaseException | None]:
        app = await ctx.request_resource(App)
        auth = await ctx.request_resource(Auth)  # type: ignore[type-abstract]  # resources are found by base class
        frontend = await ctx.request_resource(FrontendConfig)
        base_url = f"/{frontend.base_url.strip('/')}/".replace("//", "/")
        root = Path.cwd()
        calls, ids, tasks = FileCalls(root, self._options), FileIds(root), TaskSet()
        tasks.start(ids.run(), name="watched files")
        # Others start meanwhile; who comes first waits for it.
        tasks.start(calls.manager(), name="import of the contents manager")
        ctx.add_resource(_Contents(app, auth, calls, ids, base_url), types=Contents)
        documents = SharedFiles()
        tasks.start(documents.follow(ctx), name="shared documents")

        yield

        await documents.close()
        ids.stop_watching_files.set()
        await tasks.close()
        await calls.close()


class SharedFiles:
    """The Yjs plugin's part in files, if there is that plugin: it is patched to save as JupyterLab expects it.

    What it keeps of documents while the server runs goes to a folder for that, not to the user's.
    """

    def __init__(self) -> None:
        self._folder: TemporaryDirectory[str] | None = None
        self._saver: Saver | None = None
        store = getattr(sys.modules.get("fps_yjs.routes"), "JupyterSQLiteYStore", None)
        if store is not None:
            self._folder = TemporaryDirectory(prefix="fps_kernels-", ignore_cleanup_errors=True)
            store.db_path = os.path.join(self._folder.name, "updates.db")

    async def follow(self, ctx: Context) -> None:
        """Wait for the plugin."""
        yjs = await ctx.request_resource(Yjs)  # type: ignore[type-abstract]  # resources are found by base class
        manager = getattr(yjs, "room_manager", None)
        if manager is not None:
            from .....execution.fps_yjs.rooms import patch

            self._saver = patch(manager)

    async def close(self) -> None:
        """Wait for the last saves."""
        if self._saver is not None:
            await self._saver.close(CLOSE_TIMEOUT_S)
        if self._folder is not None:
            self._folder.cleanup()


def check_options(options: dict[str, Any]) -> None:
    """Raises BadOption."""
    if find_spec("jupyter_server") is None:
        raise BadOption(
            "The plugin contents needs jupyter_server: install fps_kernels[lab]. --disable=contents leaves it out"
        )
    for name, value in options.items():
        if name not in OPTIONS:
            raise BadOption(f"contents.{name}: there is no such option, but {', '.join(OPTIONS)}")
        if type(value) is not OPTIONS[name]:
            raise BadOption(f"contents.{name}: should be {'true or false' if OPTIONS[name] is bool else 'a number'}")
