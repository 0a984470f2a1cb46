"""`/lab/api/translations`: the language packs that are installed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from jupyterlab_server.translation_utils import (
    SYS_LOCALE,
    get_language_pack,
    get_language_packs,
    is_valid_locale,
    translator,
)
from starlette.requests import Request
from starlette.responses import Response

from .....serving.json_responses import json_response
from .lab_settings import SettingsEndpoint

logger = logging.getLogger(__name__)


class TranslationsEndpoint:
    """The endpoint of language packs. settings: knows in which language to name them."""

    def __init__(self, settings: SettingsEndpoint) -> None:
        self._settings = settings

    async def everything(self, request: Request) -> Response:
        return await asyncio.to_thread(lambda: _answer(*get_language_packs(self._settings.locale())))

    async def one(self, request: Request) -> Response:
        """The texts of a language; none and a message if it is not installed."""
        return await asyncio.to_thread(_pack, request.path_params["locale"])


def _pack(locale: str) -> Response:
    if locale == "default":
        locale = SYS_LOCALE
    valid = is_valid_locale(locale)
    data, message = get_language_pack(locale)
    if not data and not message:
        reason = "installed" if valid else "valid"
        return json_response({"data": {}, "message": f"Language pack '{locale[:100]}' not {reason}!"})
    if valid:
        translator.set_locale(locale)
    return _answer(data, message)


def _answer(data: dict[str, Any], message: str) -> Response:
    if message:  # it may be a traceback
        logger.warning("%s", message)
    return json_response({"data": data, "message": message.strip().rpartition("\n")[2]})
