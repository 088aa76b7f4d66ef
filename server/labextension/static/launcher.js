/** A card in JupyterLab's launcher and a command in its palette, which open the page of this server's rooms; and what a
 * reopened notebook shows in place of a room's window.
 *
 * JupyterLab loads prebuilt extensions by webpack's module federation, and this is all that it asks of one: an
 * object with `init` and `get`. Written by hand, it needs no build, and follows JupyterLab's versions by itself.
 */

(() => {
  const ICON =
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path class="jp-icon3" fill="#616161" ' +
    'd="M4 3h16a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H9l-5 4v-4a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2z"/></svg>';
  const COMMAND = "bqwidget:open";
  const WIDGET_VIEW = "application/vnd.jupyter.widget-view+json";
  /** A window usually opens sooner. */
  const SENTENCE_DELAY_MS = 500;
  let shared = {};

  /** One of JupyterLab's own packages, as it shares them with its extensions. */
  async function take(name) {
    const [version] = Object.values(shared[name]);
    return (await version.get())();
  }

  async function launcher() {
    const [{ ILauncher }, { ICommandPalette }, { LabIcon }] = await Promise.all(
      ["@jupyterlab/launcher", "@jupyterlab/apputils", "@jupyterlab/ui-components"].map(take),
    );
    return {
      id: "bqwidget-launcher:plugin",
      description: "Opens the rooms of this Jupyter server.",
      autoStart: true,
      optional: [ILauncher, ICommandPalette],
      async activate(app, launcher, palette) {
        const base = `${app.serviceManager.serverSettings.baseUrl}bqserver/`;
        const answer = await fetch(`${base}health`).catch(() => null);
        if (!answer?.ok) return; // the server's side is disabled
        app.commands.addCommand(COMMAND, {
          label: "Chat rooms",
          caption: "Open the rooms of this Jupyter server in a tab of their own",
          icon: new LabIcon({ name: "bqwidget:room", svgstr: ICON }),
          execute: () => void window.open(`${base}rooms/lobby`, "_blank", "noopener"),
        });
        launcher?.add({ command: COMMAND, category: "Other" });
        palette?.addItem({ command: COMMAND, category: "Other" });
      },
    };
  }

  /** The sentence that is saved with a window as its HTML; "" for other outputs. */
  function sentenceOf({ data }) {
    if (!/^(Room|ChatWidget)\(/.test(String(data["text/plain"]))) return "";
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
      id: "bqwidget-launcher:sentences",
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

  (window._JUPYTERLAB ??= {})["bqwidget-launcher"] = {
    init: (scope) => {
      shared = scope;
    },
    get: async () => {
      const found = await Promise.all([launcher(), sentences()]);
      return () => ({ __esModule: true, default: found });
    },
  };
})();
