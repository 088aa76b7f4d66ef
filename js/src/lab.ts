/** The entry point of the extension for JupyterLab and Notebook 7, which its container (`server/labextension`) imports.
 *
 * It is loaded when JupyterLab starts, so it is small: the view's code (`panel.ts`) is loaded after that.
 */

import { take, type Application, type Classes, type Services, type SharedScope } from "./lab/jupyterlab";
import { activate, PLUGIN_ID } from "./lab/plugin";

const PACKAGES = [
  ...["@jupyterlab/application", "@jupyterlab/apputils", "@jupyterlab/launcher", "@jupyterlab/settingregistry"],
  ...["@jupyterlab/notebook", "@jupyterlab/ui-components", "@lumino/widgets"],
];

/** The plugin, made of the packages that the page shares. */
export async function createPlugin(shared: SharedScope): Promise<object> {
  const exports = await take(shared, PACKAGES);
  const { ILabShell, ILayoutRestorer, ISettingRegistry, ICommandPalette, ILauncher, INotebookTracker } = exports;
  return {
    id: PLUGIN_ID,
    description: "The chat rooms of this Jupyter server.",
    autoStart: true,
    optional: [ILabShell, ILayoutRestorer, ISettingRegistry, ICommandPalette, ILauncher, INotebookTracker],
    activate: (app: Application, ...services: Services) => activate(app, exports as unknown as Classes, services),
  };
}
