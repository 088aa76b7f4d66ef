/** The container of the extension: what JupyterLab and Notebook 7 load, by webpack's module federation; and what a reopened
 * notebook shows in place of a room's window.
 *
 * They ask a container for `init` and `get`, and that is little enough to write by hand: it needs no webpack, and no
 * version of JupyterLab to be built against. The code of the rooms is in the bundles of bqserver (js/src/lab.ts), which
 * serves them, so it always fits the server. Without bqserver's extension in this Jupyter server there are no rooms.
 */

(() => {
  const WIDGET_VIEW = "application/vnd.jupyter.widget-view+json";
  /** A window usually opens sooner. */
  const SENTENCE_DELAY_MS = 500;
  let shared = {};

  /** One of JupyterLab's own packages, as it shares them with its extensions. */
  async function take(name) {
    const [version] = Object.values(shared[name]);
    return (await version.get())();
  }

  async function rooms() {
    const config = JSON.parse(document.getElementById("jupyter-config-data").textContent);
    if (config.bqserver !== "true") return [];
    const { createPlugin } = await import(new URL(`${config.baseUrl}bqserver/static/lab.js`, location.href).href);
    return [await createPlugin(shared)];
  }

  /** The sentence that is saved with a window as its HTML, or one for a container of windows; "" for other outputs. */
  function sentenceOf({ data }) {
    const text = String(data["text/plain"]);
    if (!/^(Room|ChatWidget)\(/.test(text)) {
      const rooms = new Set([...text.matchAll(/ChatWidget\('([\w-]{1,64})'/g)].map(([, name]) => name));
      return rooms.size === 0 ? "" : `Chat room ${[...rooms].join(", ")}, among other widgets: run this cell to open it.`;
    }
    return new DOMParser().parseFromString(String(data["text/html"] ?? ""), "text/html").body.textContent.trim();
  }

  function showSentence(renderer, text) {
    const sentence = document.createElement("p");
    sentence.textContent = text;
    sentence.style.cssText = "padding: 2px 8px; visibility: hidden";
    setTimeout(() => sentence.style.removeProperty("visibility"), SENTENCE_DELAY_MS);
    renderer.node.replaceChildren(sentence);
  }

  /** Widgets are rendered as by `factory`; a room's window without its kernel is its sentence, not "model not found". */
  function withSentence(factory) {
    if (!factory.mimeTypes.includes(WIDGET_VIEW)) return factory;
    const createRenderer = (options) => {
      const renderer = factory.createRenderer(options);
      const render = renderer.renderModel.bind(renderer);
      renderer.renderModel = async (model) => {
        const text = sentenceOf(model);
        const rendered = render(model);
        if (text === "") return rendered;
        showSentence(renderer, text); // first, because without any kernel `rendered` does not end
        await rendered;
        if (renderer.widgets.length === 0) showSentence(renderer, text);
      };
      return renderer;
    };
    return { ...factory, createRenderer };
  }

  /** For `registry` and its copies: each notebook has one, to which ipywidgets adds a factory of its own. */
  function addSentences(registry) {
    const clone = registry.clone.bind(registry);
    const addFactory = registry.addFactory.bind(registry);
    registry.clone = (options) => addSentences(clone(options));
    registry.addFactory = (factory, rank) => addFactory(withSentence(factory), rank);
    return registry;
  }

  async function sentences() {
    const { IRenderMimeRegistry } = await take("@jupyterlab/rendermime");
    return {
      id: "bqwidget:sentences",
      description: "Says in a reopened notebook how to open the window of a room.",
      autoStart: true,
      requires: [IRenderMimeRegistry],
      activate: (_, registry) => {
        const factory = registry.getFactory(WIDGET_VIEW);
        addSentences(registry);
        if (factory === undefined) return;
        registry.removeMimeType(WIDGET_VIEW);
        registry.addFactory(factory, -10); // ipywidgets' own rank
      },
    };
  }

  (window._JUPYTERLAB ??= {}).bqwidget = {
    init: (scope) => {
      shared = scope;
    },
    get: async () => {
      const found = await Promise.all([rooms(), sentences()]);
      return () => ({ __esModule: true, default: found.flat() });
    },
  };
})();
