"""Ways in for clients that others wrote: a token, or the cookie of a login at `fps-kernels lab`."""

from __future__ import annotations

from dataclasses import dataclass, field
from http.cookies import SimpleCookie

import httpx

from .gateways import Begin, Gateway, option
from .ports import free_port
from .servers import NOT_NEEDED

ENTRANCES = ("gateway by token", "lab by token", "lab by cookie")
TOKEN = "the-token-of-the-tests"


@dataclass(frozen=True)
class Entrance:
    """A server, and what its client shows.

    token: empty where the headers are enough. headers: those that a browser adds to each request once it has logged in.
    """

    server: Gateway
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def open_entrance(begin: Begin, name: str, *options: str) -> Entrance:
    """One of ENTRANCES, at a server of its own with these options, which lists its kernels."""
    if name == "gateway by token":
        server = begin(option("auth_token", TOKEN), "--JupyterWebsocketPersonality.list_kernels=True", *options)
        return Entrance(server, TOKEN)
    lean = [word for component in NOT_NEEDED for word in ("--disable", component)]
    server = begin("lab", *lean, "--set", "kernels.prewarm=0", "--port", str(free_port()), "--token", TOKEN, *options)
    if name == "lab by token":
        return Entrance(server, TOKEN)
    assert name == "lab by cookie", name
    return Entrance(server, headers=log_in(server.url, TOKEN))


def log_in(url: str, secret: str) -> dict[str, str]:
    """The headers of a browser that has filled in the form of `lab`: its cookies, and the one of XSRF again."""
    with httpx.Client(base_url=url, trust_env=False) as http:
        cookies = SimpleCookie(http.get("/login").headers["set-cookie"])
        xsrf = cookies["_xsrf"].value
        http.cookies.clear()
        answer = http.post("/login", data={"_xsrf": xsrf, "secret": secret}, headers={"Cookie": f"_xsrf={xsrf}"})
        assert answer.status_code == 303, answer.text
        cookies.load(answer.headers["set-cookie"])
    return {
        "Cookie": "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items()),
        "X-XSRFToken": xsrf,
    }
