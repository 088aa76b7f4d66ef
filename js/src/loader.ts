/** The module that a notebook saves with each window, so it is small: it fetches the view's code from the kernel.
 *
 * Where no kernel answers (a reopened notebook, an exported page) it shows a sentence in place of the room. The code
 * is fetched once per page and version.
 */

import type { Model } from "./transport/comm/commands";
import type { InitializeProps, RenderProps } from "./widget";
import type widget from "./widget";

type Factory = typeof widget;
type AnyWidget = ReturnType<Factory>;

interface Code {
  requestedAt: number;
  factory: Factory | null;
  style: HTMLStyleElement | null;
}

const REQUEST_INTERVAL_MS = 250;
const MAX_REQUEST_INTERVAL_MS = 30_000;
/** A kernel usually answers sooner, and the window opens without a sentence before. */
const SENTENCE_DELAY_MS = 500;

/** The code of each version on this page. Several copies of this module share it. */
const key = Symbol.for("bqwidget.code");
const known = Reflect.get(globalThis, key) as Map<string, Code> | undefined;
const codes = known ?? new Map<string, Code>();
Reflect.set(globalThis, key, codes);

export default function loader() {
  let view: Promise<AnyWidget> | null = null;
  let close = (): void => undefined;

  function open({ model, signal }: InitializeProps): Promise<AnyWidget> {
    view ??= new Promise((resolve) => {
      const stop = loadFactory(model, (factory) => {
        const opened = factory();
        close = opened.initialize({ model, ...(signal && { signal }) });
        resolve(opened);
      });
      close = stop;
      signal?.addEventListener("abort", stop);
    });
    return view;
  }

  return {
    initialize(props: InitializeProps): () => void {
      void open(props);
      return () => close();
    },

    render({ model, el, signal }: RenderProps): () => void {
      let removed = false;
      let remove = (): void => {
        removed = true;
      };
      const timer = setTimeout(() => showSentence(el, model), SENTENCE_DELAY_MS);
      void open({ model }).then((opened) => {
        clearTimeout(timer);
        if (removed || signal?.aborted) return;
        el.replaceChildren();
        addStyle(model, el);
        remove = opened.render({ model, el, ...(signal && { signal }) });
      });
      return () => remove();
    },
  };
}

/** Asks the kernel until it answers; returns a function that stops this. */
function loadFactory(model: Model, onCode: (factory: Factory) => void): () => void {
  const version = String(model.get("_version"));
  const code = codes.get(version) ?? { requestedAt: 0, factory: null, style: null };
  codes.set(version, code);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let interval = REQUEST_INTERVAL_MS;

  const receive = (content: unknown, buffers?: readonly DataView[]): void => {
    const [script, style] = buffers ?? [];
    if (script === undefined || style === undefined || (content as { code?: unknown }).code !== version) return;
    const url = URL.createObjectURL(new Blob([script as BlobPart], { type: "text/javascript" }));
    void import(url).then((module: { default: Factory }) => {
      URL.revokeObjectURL(url);
      code.style ??= Object.assign(document.createElement("style"), { textContent: new TextDecoder().decode(style) });
      code.factory ??= module.default;
      check();
    });
  };
  let stopped = false;
  const stop = (): void => {
    stopped = true;
    clearTimeout(timer);
    model.off("msg:custom", receive);
  };
  const check = (): void => {
    if (stopped) return;
    clearTimeout(timer);
    if (code.factory !== null) {
      stop();
      return onCode(code.factory);
    }
    if (Date.now() - code.requestedAt >= REQUEST_INTERVAL_MS) {
      code.requestedAt = Date.now(); // one request at a time, for all windows of the page
      if (!post(model, { do: "code" })) return stop();
    }
    timer = setTimeout(check, interval);
    interval = Math.min(interval * 1.5, MAX_REQUEST_INTERVAL_MS);
  };
  model.on("msg:custom", receive);
  check();
  return stop;
}

/** False if the comm is closed. */
function post(model: Model, content: unknown): boolean {
  try {
    Promise.resolve(model.send(content)).catch(() => undefined); // refused in marimo: it is sent again
    return true;
  } catch {
    return false;
  }
}

function showSentence(el: HTMLElement, model: Model): void {
  const name = document.createElement("b");
  name.textContent = String(model.get("room_name"));
  const sentence = document.createElement("p");
  sentence.append("Chat room ", name, ": its window opens when its kernel answers, or when you run this cell.");
  sentence.style.padding = "2px 8px";
  el.replaceChildren(sentence);
}

/** For the page, and for the shadow root that some notebooks put a widget into. */
function addStyle(model: Model, el: HTMLElement): void {
  const style = codes.get(String(model.get("_version")))?.style;
  if (!style) return;
  if (!style.isConnected) document.head.append(style);
  const root = el.getRootNode();
  if (root instanceof ShadowRoot) root.append(style.cloneNode(true));
}
