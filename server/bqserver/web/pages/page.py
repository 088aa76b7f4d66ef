"""PageHandler: what the handlers of all HTML pages have in common."""

from __future__ import annotations

import contextlib

from tornado.iostream import StreamClosedError

from bqserver.web.handler import Handler

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)


class PageHandler(Handler):
    """Answers browsers. Without a session a page is an empty shell that can take an invite."""

    public = True
    _start = b""

    async def start_page(self, html: bytes) -> None:
        """Send the headers and the start of the page now, so that the browser asks for style and script meanwhile."""
        if self.request.method == "HEAD":  # its Content-Length is that of the whole page
            self._start = html
            return
        self._set_page_headers()
        self.set_header("X-Accel-Buffering", "no")  # nginx would keep it until the page ends
        self.write(html)
        with contextlib.suppress(StreamClosedError):
            await self.flush()

    async def finish_page(self, html: bytes) -> None:
        """Send the page, or the rest of it."""
        self._set_page_headers()
        await self.finish_json(self._start + html)

    def _set_page_headers(self) -> None:
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.set_header("Content-Security-Policy", CSP)
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
