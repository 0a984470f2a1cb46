"""What a server asks of requests, held against who can reach it."""

from __future__ import annotations

import logging

from ...errors import BadOption
from .access_policy import AccessPolicy
from .credentials import SHORT_TOKEN_CHARS, can_be_guessed

logger = logging.getLogger(__name__)


def check_reach(
    policy: AccessPolicy,
    ip: str,
    *,
    public: bool,
    allowed_open: bool,
    token_option: str,
    proxy_option: str,
    open_option: str,
) -> None:
    """Refuse to serve strangers by mistake.

    ip: the address that is listened on, for the messages. public: whether other machines can reach it.
    allowed_open: whether the operator has allowed anything, by `open_option`.
    Raises BadOption, which names the options to set.
    """
    where = f"ip={ip or '(all addresses)'}"
    if public and not allowed_open:
        if policy.open:
            raise BadOption(
                f"{where}: everyone who can reach it could run code. Set {token_option}, or allow it with {open_option}"
            )
        for what, secret, option in (
            ("token", policy.token, token_option),
            ("proxy's secret", policy.proxy_secret, proxy_option),
        ):
            if can_be_guessed(secret) and not policy.client_certificates:
                raise BadOption(
                    f"{where}: a {what} of fewer than {SHORT_TOKEN_CHARS} characters can be guessed from other "
                    f"machines. Set a longer {option}, or allow it with {open_option}"
                )


def warn_of_reach(policy: AccessPolicy, ip: str, *, public: bool) -> None:
    """Say whom an open server lets in; the parameters are those of `check_reach`."""
    if not policy.open:
        return
    if policy.origins.everyone:
        logger.warning("Every web page that is open on this machine can run code here: allow_origin=* without a token")
    if public:
        logger.warning("This server is open to everyone who can reach %s, and lets them run code", ip or "this machine")
    else:
        logger.warning("This server is open: every user and program of this machine can run code as you")
