"""The page that a browser gets while the rooms can't be opened. Style and script of the other pages are the server's."""

from __future__ import annotations

from tornado.template import Template

from bqserver.web.pages.template import ICON

CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rooms · bqwidget</title>
<link rel="icon" type="image/svg+xml" href="{{ icon }}">
<style>
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1.5rem; overflow-wrap: anywhere }
h1 { font-size: 1.4rem }
</style>
</head>
<body>
<main>
<h1>The chat rooms can't be opened</h1>
<p role="alert">{{ reason }}.</p>
<p>Remove the cause, then <a href="">open this page again</a>. The log of this Jupyter server says more.</p>
</main>
</body>
</html>
""",
    whitespace="all",
)


def render_problem(message: str) -> bytes:
    """A whole page. ``message``: of the error, which begins with a small letter and has no full stop."""
    return _PAGE.generate(icon=ICON, reason=(message[:1].upper() + message[1:]).rstrip("."))
