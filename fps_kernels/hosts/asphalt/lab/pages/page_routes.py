"""The table of what is answered in the place of JupyterLab's plugins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from .....api.responses import Handler, security_headers
from . import lab_static
from .lab_extensions import ExtensionsEndpoint
from .lab_folders import LabFolders
from .lab_licenses import LicensesEndpoint
from .lab_page import LabPage
from .lab_settings import SettingsEndpoint
from .lab_translations import TranslationsEndpoint
from .lab_workspaces import WorkspacesEndpoint
from .page_endpoints import answering


class PageRoute(Route):
    """A page of JupyterLab: all paths below `/lab`, but not those of its API and of its extensions."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        rest = child_scope.get("path_params", {}).get("rest", "")
        if rest.startswith(("api/", "extensions/")):
            return Match.NONE, {}
        return match, child_scope


def lab_page_routes(
    base_url: str, plugin: Any, root: Path, values: Mapping[str, bool], lacking: Sequence[str]
) -> list[BaseRoute]:
    """The routes of JupyterLab. See LabPage for the parameters; base_url: as it is once decoded."""
    folders = LabFolders.find(dev_mode=plugin.jupyterlab_config.dev_mode)
    settings = SettingsEndpoint(folders)
    workspaces = WorkspacesEndpoint(folders)
    translations = TranslationsEndpoint(settings)
    extensions = ExtensionsEndpoint(folders)
    licenses = LicensesEndpoint(folders)
    page = LabPage(folders, plugin, base_url, root, values, lacking)
    security = security_headers(base_url)

    def api(path: str, handler: Handler, *methods: str) -> Route:
        return Route(base_url + path, answering(handler, security), methods=[*methods] or ["GET"])

    def files(path: str, folders: lab_static.StaticFolders) -> Route:
        return Route(f"{base_url}{path}/{{path:path}}", answering(folders.get, {}))

    pages: list[BaseRoute] = [
        PageRoute(f"{base_url}{path}", answering(page.show, {}))
        for path in ("lab", "lab/{rest:path}", "doc", "doc/{rest:path}")
    ]
    outside = ["/", base_url.rstrip("/")] if base_url != "/" else []
    starts: list[BaseRoute] = [Route(path, answering(page.start, {})) for path in (base_url, *outside)]
    return [
        *(api(f"lab/api/settings{slash}", settings.everything) for slash in ("", "/")),
        api("lab/api/settings/{plugin:path}", settings.one, "GET", "PUT"),
        *(api(f"lab/api/workspaces{slash}", workspaces.everything, "GET", "PUT", "DELETE") for slash in ("", "/")),
        api("lab/api/workspaces/{name:path}", workspaces.one, "GET", "PUT", "DELETE"),
        *(api(f"lab/api/translations{slash}", translations.everything) for slash in ("", "/")),
        api("lab/api/translations/{locale:path}", translations.one),
        api("lab/api/extensions", extensions.extensions, "GET", "POST"),
        api("lab/api/plugins", extensions.plugins, "GET", "POST"),
        *(api(f"lab/api/licenses{slash}", licenses.report) for slash in ("", "/")),
        files("lab/api/themes", lab_static.themes(folders)),
        files("lab/extensions", lab_static.labextensions(folders)),
        files("static/lab", lab_static.application(folders)),
        files("static/favicons", lab_static.favicons()),
        *pages,
        *starts,
    ]
