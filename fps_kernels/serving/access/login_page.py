"""The pages of a login: the form, the way out, and the step from another site's link to ours. Pure."""

from __future__ import annotations

import html
from urllib.parse import unquote_plus

POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
"""No script runs in these pages."""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
{head}<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0; min-height: 100vh; display: grid; place-items: center;
  background: Canvas; color: CanvasText; color-scheme: light dark }}
main {{ width: min(22rem, 90vw) }}
h1 {{ font-size: 1.4rem; margin: 0 0 1rem }}
label, input, button {{ display: block; width: 100%; box-sizing: border-box; font: inherit }}
input, button {{ padding: .6rem .8rem; margin: .4rem 0 1rem; border: 1px solid GrayText; border-radius: .4rem }}
button {{ background: #f37726; border-color: #f37726; color: #000; cursor: pointer }}
p.error {{ color: #c62828; font-weight: 600 }}
small {{ color: GrayText }}
</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""
_FORM = """<h1>{name}</h1>
{error}<form method="post" action="{action}">
<input type="hidden" name="_xsrf" value="{xsrf}">
<input type="hidden" name="next" value="{next}">
<label for="secret">{label}</label>
<input id="secret" name="secret" type="password" autocomplete="current-password" autofocus required>
<button type="submit">Log in</button>
</form>
<small>{hint}</small>"""
TOKEN_HINT = "The server printed a URL with the token when it was started."


def login_form(
    action: str,
    next_path: str,
    xsrf: str,
    *,
    password: bool,
    error: str = "",
    name: str = "JupyterLab",
    hint: str = TOKEN_HINT,
) -> str:
    """The page that asks for the password, or the token.

    name: the heading. hint: where the token is. Neither is escaped.
    """
    return _PAGE.format(
        title="Log in",
        head="",
        body=_FORM.format(
            name=name,
            error=f'<p class="error" role="alert">{html.escape(error)}</p>\n' if error else "",
            action=html.escape(action),
            xsrf=html.escape(xsrf),
            next=html.escape(next_path),
            label="Password" if password else "Token",
            hint="" if password else hint,
        ),
    )


def logged_out(login: str) -> str:
    """The page that a user sees who has logged out."""
    body = f'<h1>You are logged out</h1>\n<p><a href="{html.escape(login)}">Log in</a></p>'
    return _PAGE.format(title="Logged out", head="", body=body)


def step(target: str, name: str = "JupyterLab") -> str:
    """A page that leads to another one of ours, as if the user had followed a link on it. name: as in login_form.

    Browsers hold cookies of SameSite=Strict back from a link of another site, and from where its redirects lead.
    """
    url = html.escape(target)
    head = f'<meta http-equiv="refresh" content="0; url={url}">\n'
    return _PAGE.format(title=name, head=head, body=f'<p><a href="{url}">Continue to {name}</a></p>')


def without_token(target: str, query_string: bytes) -> str:
    """The path and query of a request, without the parameter `token`, as a local URL.

    target: the path as it was sent.
    """
    parts = query_string.decode("latin-1").split("&")
    query = "&".join(part for part in parts if unquote_plus(part.partition("=")[0]) != "token")
    return local_path(f"{target}?{query}" if query else target, "/")


def local_path(path: str, default: str) -> str:
    """A path that a browser takes for one of this server; `default` if it may lead elsewhere."""
    starts_elsewhere = not path.startswith("/") or path[1:2] in ("/", "\\")
    return default if starts_elsewhere or not path.isprintable() or "\\" in path else path
