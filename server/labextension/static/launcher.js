/** A card in JupyterLab's launcher and a command in its palette: they open the page of this server's rooms.
 *
 * JupyterLab loads prebuilt extensions by webpack's module federation, and this is all that it asks of one: an
 * object with `init` and `get`. Written by hand, it needs no build, and follows JupyterLab's versions by itself.
 */

(() => {
  const ICON =
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path class="jp-icon3" fill="#616161" ' +
    'd="M4 3h16a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H9l-5 4v-4a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2z"/></svg>';
  const COMMAND = "bqwidget:open";
  let shared = {};

  /** One of JupyterLab's own packages, as it shares them with its extensions. */
  async function take(name) {
    const [version] = Object.values(shared[name]);
    return (await version.get())();
  }

  async function plugin() {
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

  (window._JUPYTERLAB ??= {})["bqwidget-launcher"] = {
    init: (scope) => {
      shared = scope;
    },
    get: async () => {
      const found = await plugin();
      return () => ({ __esModule: true, default: found });
    },
  };
})();
