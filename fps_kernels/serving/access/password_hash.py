"""Passwords, as they are kept: hashed with scrypt, so that who reads the hash has to try one after the other. Pure.

The parameters stand in the hash (RFC 7914): `scrypt:LOG2N:R:P:SALT:KEY`, salt and key in hexadecimal.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

LOG2_N, R, P = 15, 8, 3
"""What OWASP advises for scrypt with 32 MiB of memory: a tenth of a second."""
_FORM = re.compile(r"scrypt:(\d{1,2}):(\d{1,2}):(\d{1,2}):([0-9a-f]{32,128}):([0-9a-f]{64})")
_MAX_MEMORY = 256 * 1024 * 1024


def hash_password(password: str, log2_n: int = LOG2_N) -> str:
    """The hash of a password. log2_n: how much it costs; one more is twice as much."""
    salt = secrets.token_bytes(16)
    return f"scrypt:{log2_n}:{R}:{P}:{salt.hex()}:{_key(password, salt, log2_n, R, P).hex()}"


def is_password_hash(text: str) -> bool:
    """Whether it is the form of a hash, with parameters that this machine should bear."""
    if (found := _FORM.fullmatch(text)) is None:
        return False
    log2_n, r, p = (int(number) for number in found.groups()[:3])
    return 10 <= log2_n <= 20 and r >= 1 and 1 <= p <= 16 and 128 * r * 2**log2_n <= _MAX_MEMORY


def password_matches(password: str, hashed: str) -> bool:
    """Whether a password has this hash. Takes a tenth of a second of CPU: not for an event loop."""
    found = _FORM.fullmatch(hashed)
    assert found is not None
    log2_n, r, p, salt, key = found.groups()
    return hmac.compare_digest(_key(password, bytes.fromhex(salt), int(log2_n), int(r), int(p)), bytes.fromhex(key))


def _key(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    data = password.encode(errors="surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=2**log2_n, r=r, p=p, maxmem=2 * _MAX_MEMORY, dklen=32)
