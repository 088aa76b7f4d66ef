"""PageHandler: what the handlers of all HTML pages have in common."""

from __future__ import annotations

from bqserver.web.handler import Handler

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)


class PageHandler(Handler):
    """Answers browsers. Without a session a page is an empty shell that can take an invite."""

    public = True

    async def finish_page(self, html: bytes) -> None:
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.set_header("Content-Security-Policy", CSP)
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        await self.finish_json(html)
