"""A monitor in the browser that reports unexpected elements in a chat, executed payloads and requests.

It is installed before the page's own scripts and examines every mutation of the document, so that it also sees
elements that exist only briefly. The list below holds the allowed elements and attributes; the monitor reports all
others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Dialog, Page, Request

MONITOR_SCRIPT = r"""
(() => {
  const any = /^[^]*$/, dir = /^(auto|ltr)?$/, flag = /^(true|false)?$/, word = /^[\w -]*$/;
  // An avatar's background colour, text colour, and image, which has a data: URL.
  const rgb = "rgb\\(\\d+, \\d+, \\d+\\)", picture = 'url\\("data:image/(png|jpeg|gif|webp);base64,[\\w+/=]+"\\)';
  const paint = new RegExp(`^(background(-image)?: (${picture}|${rgb}|${picture} ${rgb}); ?|color: ${rgb}; ?)+$`);
  const own = { class: word, role: /^(alert|group|listbox|option|progressbar|status)$/, title: any, dir, tabindex: /^(0|-1)$/,
                "data-lm-suppress-shortcuts": flag };
  const aria = /^aria-(label|level|hidden|live|atomic|expanded|pressed|disabled|controls|activedescendant|selected|haspopup|autocomplete|busy)$/;
  const lists = /^aria-(describedby|setsize|posinset|valuenow|valuemin|valuemax)$/, share = /^--share: [\d.]+;?$/;
  // Formulas: numbers with units, and words. A style is of padding, borders, colours and sizes.
  const mathStyle = /^((padding|margin|border|width|height|color|background-color|display|position|left|right|top|bottom|text-align|font-weight|math-depth)[a-z-]*: [\w\s#%.,()-]+; ?)+$/;
  const mathRules = new Proxy({ style: mathStyle }, { get: (rules, name) => rules[name] ?? (/^(display|mathvariant|[lr]space|stretchy|fence|form|symmetric|(min|max|math)size|movablelimits|largeop|separator|accent|notation|linethickness|displaystyle|scriptlevel|width|height|depth|voffset|math(color|background))$/.test(name) ? /^[\w\s#%.+-]*$/ : undefined) });
  const formulas = Object.fromEntries("math mrow mi mo mn mtext ms mspace msup msub msubsup mover munder munderover mfrac msqrt mroot mtable mtr mtd mstyle mpadded mphantom menclose mmultiscripts mprescripts none".split(" ").map((name) => [name, mathRules]));
  const allowed = {
    // The page's own HTML and the elements of message texts.
    main: { "data-room": word, "data-base": /^[\w/.:-]*$/, "data-session": /^(yes|no)$/ },
    ol: { start: /^-?\d+$/ }, ul: {}, dl: {}, dt: {}, dd: {}, li: { value: /^\d+$/, style: share, "data-row": flag, "data-seq": /^\d+$/, "data-cid": /^\w+\.\w+$/ },
    h3: {}, h4: {}, h5: {}, h6: {}, hr: {}, ...formulas,
    p: {}, b: {}, strong: {}, em: {}, del: {}, code: {}, pre: {}, blockquote: {}, br: {}, small: {}, q: {},
    time: { datetime: /^[\d:.TZ-]*$/ },
    // Attachments: an image has the URL of its bytes, and a table consists of cells.
    img: { src: /^(blob:https?:\/\/[\w.:-]+\/[\w-]+|data:image\/svg\+xml;base64,[\w+\/=]*)$/, alt: any, decoding: /^async$/,
           draggable: /^false$/ },
    table: {}, thead: {}, tbody: {}, tr: {}, th: { scope: /^col$/ }, td: {}, figure: {}, figcaption: {},
    dialog: { open: flag }, progress: { max: /^1$/, value: /^[\d.]+$/ },
    a: { href: /^((https?|mailto):|\/rooms\/[\w.-]+\/parts\/[0-9a-f]{64}$|\/$)/, target: /^_blank$/, rel: /^noopener noreferrer$/ },
    // The chat window.
    section: {}, header: {}, footer: {}, h1: {}, h2: {}, span: { style: paint },
    div: { style: /^width: \d+px; aspect-ratio: \d+ \/ \d+;$|^--share: [\d.]+;?$/ }, form: {}, label: {}, button: { type: /^(button|submit)$/, disabled: flag },
    input: { name: /^invite$/, "aria-invalid": /^(true|false)$/, checked: flag, type: /^(file|checkbox)$/, hidden: flag, multiple: flag, accept: /^[\w+\/,]*$/, placeholder: word, autocomplete: /^(nickname|off)$/, spellcheck: flag, maxlength: /^\d+$/, readonly: flag,
             disabled: flag, type: /^(file|checkbox)$/, hidden: flag, multiple: flag, accept: /^[\w/+., -]*$/ },
    textarea: { rows: /^1$/, "aria-invalid": /^true$/, placeholder: word, enterkeyhint: /^send$/, style: /^height: (auto|[\d.]+px);$/ },
    svg: { viewBox: /^0 0 24 24$/, focusable: /^false$/ }, path: { d: /^[\d\sA-Za-z.,-]*$/ },
  };
  const found = new Set(), ran = [], blocked = [];
  const attribute = (element, { name, value }) => {
    const rules = Object.hasOwn(allowed, element.localName) ? allowed[element.localName] : {};
    const rule = rules[name] ?? own[name] ?? (aria.test(name) || lists.test(name) || name === "id" && /^bq(widget$|-)/.test(value) ? any : null);
    if (!rule?.test(value)) found.add(`<${element.localName} ${name}="${value}">`);
  };
  const element = (each) => {
    if (each.matches("main > noscript")) return; // the text of the empty page
    if (!Object.hasOwn(allowed, each.localName)) found.add(`<${each.localName}>`);
    if (each.shadowRoot) found.add(`<${each.localName}> with a shadow`);
    if (each.localName === "a" && each.rel !== "noopener noreferrer") found.add(`<a rel="${each.rel}">`);
    for (const one of each.attributes) attribute(each, one);
  };
  const inside = (node) => (node.nodeType === 1 ? node : node.parentElement)?.closest("#bqwidget, .bq-chat") ?? null;
  const walk = (root) => {
    if (root.nodeType === 1 && inside(root)) element(root);
    if (root.nodeType === 1) for (const each of root.querySelectorAll("*")) if (inside(each)) element(each);
  };
  const changes = (records) => {
    for (const { type, target, addedNodes, attributeName } of records) {
      if (type === "childList") addedNodes.forEach(walk);
      else if (inside(target) && target.hasAttribute(attributeName)) attribute(target, target.attributes[attributeName]);
    }
  };
  const observer = new MutationObserver(changes);
  observer.observe(document, { subtree: true, childList: true, attributes: true });
  document.addEventListener("securitypolicyviolation", ({ violatedDirective, sample, blockedURI }) =>
    blocked.push(`${violatedDirective} stopped ${sample || blockedURI}`));
  window.ran = (number) => ran.push(`payload ${number} ran`);
  window.alert = window.prompt = window.confirm = () => ran.push("a dialog");
  window.domMonitor = () => {
    changes(observer.takeRecords());
    walk(document.documentElement);
    const outside = [...document.querySelectorAll("body > *")].filter((each) =>
      document.querySelector("body > #bqwidget") && !each.matches("#bqwidget, #bqwidget-state"));
    for (const each of outside) found.add(`<${each.localName}> outside the window`);
    const links = [...document.querySelectorAll("#bqwidget a, .bq-chat a")].map(({ protocol }) => protocol);
    for (const one of links) if (!["http:", "https:", "mailto:"].includes(one)) found.add(`a link to ${one}`);
    return [...ran, ...blocked, ...found];
  };
})();
"""


class DomMonitor:
    """Create it before the page is opened; ``report()`` returns a description of each violation.

    ``origins``: the allowed targets of requests. ``scripts=False``: the browser runs no scripts, so only requests are
    monitored.
    """

    def __init__(self, page: Page, *origins: str, scripts: bool = True) -> None:
        self._page = page
        self._scripts = scripts
        self._hosts = {urlsplit(origin).netloc for origin in origins}
        self._seen: list[str] = []
        page.add_init_script(MONITOR_SCRIPT)
        page.on("request", self._request)
        page.on("websocket", lambda socket: self._address(socket.url))
        page.on("dialog", self._dialog)
        page.on("popup", lambda popup: self._seen.append(f"a window opened: {popup.url}"))
        page.on("console", self._console)

    def report(self) -> list[str]:
        return [*self._seen, *(self._page.evaluate("domMonitor()") if self._scripts else [])]

    def _request(self, request: Request) -> None:
        self._address(request.url)

    def _address(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc not in self._hosts:
            self._seen.append(f"a request to {url}")

    def _dialog(self, dialog: Dialog) -> None:
        self._seen.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def _console(self, message: ConsoleMessage) -> None:
        if "Security Policy" in message.text or "Trusted" in message.text:
            self._seen.append(f"the browser logged: {message.text}")
