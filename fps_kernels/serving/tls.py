"""The TLS context of a server, from the files that its operator names."""

from __future__ import annotations

import ssl
from pathlib import Path

from ..errors import BadOption


def tls_context(
    certfile: str | None, keyfile: str | None, client_ca: str | None = None, ssl_version: int | None = None
) -> ssl.SSLContext | None:
    """The context to serve TLS with; None when there is no certificate. Files are in PEM format.

    certfile: path of the certificate.
    keyfile: path of its key; None when the key is in certfile.
    client_ca: path of the authority that must have signed the clients' certificates; None to ask for none.
    ssl_version: number of a protocol in Python's ssl module; None: all safe ones.
    Raises BadOption, which names the option.
    """
    files = {"certfile": certfile, "keyfile": keyfile, "client_ca": client_ca}
    if not certfile:
        for name, path in files.items():
            if path:
                raise BadOption(f"{name}={path}: has no effect without certfile")
        return None
    for name, path in files.items():
        if path and not Path(path).is_file():
            raise BadOption(f"{name}={path}: no such file")
    try:
        protocol = ssl.PROTOCOL_TLS_SERVER if ssl_version is None else ssl._SSLMethod(ssl_version)
        if protocol is ssl.PROTOCOL_TLS_CLIENT:
            raise ValueError
        context = ssl.SSLContext(protocol)
    except ValueError as exc:
        raise BadOption(f"ssl_version={ssl_version}: not a protocol that this Python can serve") from exc

    def refuse_to_ask() -> str:
        """Keeps OpenSSL from asking for the pass phrase on the terminal."""
        file = f"keyfile={keyfile}" if keyfile else f"certfile={certfile}"
        raise BadOption(f"{file}: its key is encrypted; there is no option for a pass phrase")

    try:
        context.load_cert_chain(certfile, keyfile, refuse_to_ask)
    except (ssl.SSLError, OSError) as exc:
        named = f"certfile={certfile}" + (f" keyfile={keyfile}" if keyfile else "")
        raise BadOption(f"{named}: {_reason(exc)}") from exc
    if client_ca:
        try:
            context.load_verify_locations(client_ca)
        except (ssl.SSLError, OSError) as exc:
            raise BadOption(f"client_ca={client_ca}: {_reason(exc)}") from exc
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _reason(exc: OSError) -> str:
    return getattr(exc, "reason", None) or exc.strerror or str(exc)
