/** What Jupyter's pages tell of their server. */

import { isObject, parseJson } from "../protocol/schema";

/** The value of `name` in the configuration of the page, or "". */
export function jupyterOption(name: string): string {
  const config = parseJson(document.getElementById("jupyter-config-data")?.textContent ?? "");
  const value = isObject(config) ? config[name] : undefined;
  return typeof value === "string" ? value : "";
}
