"""Who may come in at `fps-kernels lab`: from its options to the layer around all plugins."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from jupyter_core.paths import jupyter_runtime_dir
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from ....errors import BadOption
from ....serving.access.access_layer import AccessLayer
from ....serving.access.access_policy import AccessPolicy
from ....serving.access.browser_login import BrowserLogin
from ....serving.access.credentials import ProxyUsers
from ....serving.access.host_names import LocalNames
from ....serving.access.login_cookie import LoginCookies, signing_key
from ....serving.access.password_hash import is_password_hash
from ....serving.access.reach import check_reach
from ....serving.access.secret_file import COOKIE_SECRET_FILE, cookie_secret, read_secret
from ....serving.origin import AllowedOrigins, normalized
from ....serving.page_headers import PageHeaders
from ....serving.sockets import is_public
from ....serving.trusted_proxy import TrustedProxy
from ....serving.unix_socket import absolute_path, host_of

TOKEN_VARIABLE = "FPS_KERNELS_TOKEN"
TOKEN_FILE_VARIABLE = "FPS_KERNELS_TOKEN_FILE"
PASSWORD_FILE_VARIABLE = "FPS_KERNELS_PASSWORD_FILE"

PRIVATE_NETWORK: dict[str, Any] = (
    {"allow_private_network": True} if "allow_private_network" in signature(CORSMiddleware).parameters else {}
)
"""Lets pages of the internet, such as Colab's, ask for a server of this machine. Starlette refuses that by default;
old ones know nothing of it."""


@dataclass(frozen=True, slots=True)
class LabAccess:
    """Who may come in.

    made_token: whether the token was made for this start.
    trust_proxy: whether to believe the headers of a proxy.
    base_url: the path that all paths begin with.
    allow_origins: the origins that options list.
    """

    policy: AccessPolicy
    made_token: bool
    trust_proxy: bool
    base_url: str
    allow_origins: tuple[str, ...]

    @property
    def open_paths(self) -> frozenset[str]:
        """As in Jupyter Server, /api tells its version to whoever asks, as health checks do."""
        return frozenset({f"{unquote(self.base_url)}api"})

    def layer(self, port: int) -> Callable[[ASGIApp], ASGIApp]:
        """What is put around the application; port: the one that is listened on."""
        policy, base_url = self.policy, self.base_url
        secret = cookie_secret(Path(jupyter_runtime_dir()) / COOKIE_SECRET_FILE)
        key = signing_key(secret, policy.token, policy.password_hash, policy.proxy_secret)
        cookies = LoginCookies(key, port, base_url)

        def wrap(app: ASGIApp) -> ASGIApp:
            login = BrowserLogin(policy, cookies, base_url, f"{base_url}lab")
            app = AccessLayer(app, policy, login, open_paths=self.open_paths)
            if policy.origins != AllowedOrigins():
                app = CORSMiddleware(
                    app,
                    allow_origins=[normalized(origin) for origin in self.allow_origins],
                    allow_origin_regex=None if policy.origins.pattern is None else policy.origins.pattern.pattern,
                    allow_credentials=not policy.origins.everyone,
                    allow_methods=["*"],
                    allow_headers=["*"],
                    **PRIVATE_NETWORK,
                )
            user_content = [f"{unquote(base_url)}{name}/" for name in ("files", "nbconvert")]
            app = PageHeaders(app, base_url, user_content=user_content)
            return TrustedProxy(app) if self.trust_proxy else app

        return wrap


def lab_access(
    options: argparse.Namespace, base_url: str, origins: list[str], pattern: str | None, made_token: Callable[[], str]
) -> LabAccess:
    """What the command's options and the environment ask for.

    origins, pattern: `kernels.allow_origin` and `kernels.allow_origin_pat`.
    made_token: makes a token, where they ask for none.
    Raises BadOption.
    """
    token, password_hash, made = _secrets(options, made_token)
    allow_origins = (*options.allow_origin, *origins)
    allowed = AllowedOrigins.parse(allow_origins, options.allow_origin_pat or pattern, option="--allow-origin-pat")
    sock = absolute_path(options.sock or "")
    public = not sock and is_public(options.ip)
    names = [*options.local_hostname, host_of(sock)]
    local = None if public or options.allow_remote_access else LocalNames.parse(names)
    policy = AccessPolicy(
        token=token,
        password_hash=password_hash,
        proxy=_proxy(options),
        client_certificates=options.client_ca is not None,
        origins=allowed,
        local_names=local,
        local_option="--local-hostname or --allow-remote-access",
    )
    check_reach(
        policy,
        options.ip,
        public=public,
        allowed_open=options.allow_open_access,
        token_option="--token-file (or leave --no-token out)" if options.no_token else "--token-file",
        proxy_option="--proxy-secret-file",
        open_option="--allow-open-access",
    )
    return LabAccess(policy, made, options.trust_xheaders, base_url, allow_origins)


def _secrets(options: argparse.Namespace, made_token: Callable[[], str]) -> tuple[str, str, bool]:
    """The token, the hash of the password, and whether the token was made now.

    The variables are taken out of the environment, which kernels and terminals inherit.
    """
    token = os.environ.pop(TOKEN_VARIABLE, "")
    token_file = os.environ.pop(TOKEN_FILE_VARIABLE, "")
    password_file = os.environ.pop(PASSWORD_FILE_VARIABLE, "")
    if options.no_token and (options.token is not None or options.token_file or options.password_file):
        raise BadOption("--no-token: there is another option with a token or a password")
    if options.no_token:
        return "", "", False
    password_file = options.password_file or password_file
    password_hash = read_secret(password_file, "--password-file") if password_file else ""
    if password_hash and not is_password_hash(password_hash):
        raise BadOption(f"--password-file={password_file}: not made by `fps-kernels password`")
    if options.token is not None:
        token = options.token
    elif options.token_file:
        token = read_secret(options.token_file, "--token-file")
    elif not token and token_file:
        token = read_secret(token_file, TOKEN_FILE_VARIABLE)
    if options.token == "":
        raise BadOption("--token: empty. Use --no-token to do without")
    if token and not token.isprintable():
        raise BadOption("--token: it must not contain control characters")
    if token or password_hash:
        return token, password_hash, False
    if options.proxy_user_header:
        return "", "", False
    return made_token(), "", True


def _proxy(options: argparse.Namespace) -> ProxyUsers | None:
    if bool(options.proxy_user_header) != bool(options.proxy_secret_file):
        raise BadOption("--proxy-user-header and --proxy-secret-file: both are needed, or none")
    if not options.proxy_user_header:
        return None
    secret = read_secret(options.proxy_secret_file, "--proxy-secret-file")
    return ProxyUsers(options.proxy_user_header.lower(), secret)
