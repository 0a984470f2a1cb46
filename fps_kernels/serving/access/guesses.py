"""How long whoever guesses a token or a password has to wait. Pure: time is passed in.

A right guess is answered immediately, the answer to a wrong one is held back, for longer with each that an address has
made. Only a few answers may be held back for one address: as long as they are, its other guesses are refused unseen. So
many connections guess hardly faster than one, and whoever has the token waits for nothing but an attack from the same
address.

Behind a proxy the address stands in a header, and a proxy that passes on what its client wrote there lets a guesser
have a new one for each guess. So a guess counts for whoever has connected as well, with more patience: many clients
share a proxy.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

FREE_FAILURES = 5
"""Failures of an address without any delay: a user may mistype."""
FIRST_DELAY_S = 0.25
"""The delay of the next answer. It doubles with each failure."""
MAX_DELAY_S = 2.0
"""With MAX_WAITING, an address can try 4 secrets a second: a hundred years for 8 small letters picked at random."""
FORGET_S = 900.0
"""Seconds without a failure after which an address starts from the beginning."""
MAX_WAITING = 8
"""Answers that are held back for one address at a time; its other guesses are refused unseen."""
PROXY_FREE_FAILURES = 50
"""The same as FREE_FAILURES for all clients of a proxy together."""
PROXY_MAX_WAITING = 64
"""The same as MAX_WAITING: 32 secrets a second by way of a proxy, whatever it says of its clients."""
MAX_ADDRESSES = 10_000
"""Addresses that are remembered; beyond that, the one that failed longest ago is forgotten."""
LOG_EVERY = 100
"""One line for so many failures of an address, after the first ones."""


Source = tuple[str, str | None]
"""Where a guess comes from; see Guessing."""


@dataclass(slots=True)
class _Guesser:
    failures: int = 0
    last: float = 0.0
    waiting: int = 0


class Guesses:
    """The addresses that have shown wrong secrets lately. Times are in seconds of any clock.

    free_failures: see FREE_FAILURES. max_waiting: see MAX_WAITING.
    """

    def __init__(self, free_failures: int = FREE_FAILURES, max_waiting: int = MAX_WAITING) -> None:
        self._free_failures = free_failures
        self._max_waiting = max_waiting
        self._guessers: OrderedDict[str, _Guesser] = OrderedDict()

    def delay_s(self, address: str, now: float) -> float:
        """Seconds for which the answer to a wrong guess of an address is to be held back."""
        guesser = self._guessers.get(_network(address))
        if guesser is None or now - guesser.last > FORGET_S:
            return 0.0
        extra = guesser.failures - self._free_failures
        return 0.0 if extra < 0 else min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** min(extra, 20))

    def failed(self, address: str, now: float) -> int:
        """Note a wrong guess; returns how many of its address there have been."""
        key = _network(address)
        guesser = self._guessers.pop(key, None) or _Guesser()
        if now - guesser.last > FORGET_S:
            guesser.failures = 0
        guesser.failures += 1
        guesser.last = now
        self._guessers[key] = guesser
        while len(self._guessers) > MAX_ADDRESSES:
            self._guessers.popitem(last=False)
        return guesser.failures

    def may_guess(self, address: str) -> bool:
        """Whether a guess of an address is looked at: not while too many of its answers are held back."""
        guesser = self._guessers.get(_network(address))
        return guesser is None or guesser.waiting < self._max_waiting

    @contextlib.contextmanager
    def held_back(self, address: str) -> Iterator[None]:
        """The time for which an answer is held back."""
        guesser = self._guessers.setdefault(_network(address), _Guesser())
        guesser.waiting += 1
        try:
            yield
        finally:
            guesser.waiting -= 1


class Guessing:
    """Wrong guesses of a server's clients, each counted for its address and for who has connected.

    A source is both: an address, and the one that has connected if only a header says the first; else None.
    """

    def __init__(self) -> None:
        self._addresses = Guesses()
        self._proxies = Guesses(PROXY_FREE_FAILURES, PROXY_MAX_WAITING)

    def may_guess(self, source: Source) -> bool:
        """Whether a guess is looked at."""
        return all(guesses.may_guess(address) for guesses, address in self._counted(source))

    def failed(self, source: Source, now: float) -> float:
        """Note a wrong guess; returns the seconds for which its answer is to be held back."""
        counted = self._counted(source)
        delay_s = max(guesses.delay_s(address, now) for guesses, address in counted)
        for guesses, address in counted:
            guesses.failed(address, now)
        return delay_s

    @contextlib.contextmanager
    def held_back(self, source: Source) -> Iterator[None]:
        """The time for which an answer is held back."""
        with contextlib.ExitStack() as stack:
            for guesses, address in self._counted(source):
                stack.enter_context(guesses.held_back(address))
            yield

    def _counted(self, source: Source) -> list[tuple[Guesses, str]]:
        address, peer = source
        return [(self._addresses, address), *([] if peer is None else [(self._proxies, peer)])]


def is_logged(failures: int) -> bool:
    """Whether the failure of this number gets a line in the log."""
    return failures <= FREE_FAILURES or failures % LOG_EVERY == 0


def _network(address: str) -> str:
    """What counts as one address: a provider gives each of its customers 2^64 addresses of IPv6."""
    try:
        parsed = ip_address(address)
    except ValueError:  # a Unix socket has none
        return address
    if isinstance(parsed, IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(ip_network((parsed, 64), strict=False) if mapped is None else mapped)
    return str(parsed)
