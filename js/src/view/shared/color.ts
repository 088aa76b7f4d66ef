/** Turns the colour of a profile, which is untrusted, into a hex colour and a readable text colour for it.
 *
 * Jupyter sends CSS colours, and JupyterLab's own as `var(--jp-collaborator-color1)`. Anything else never gets into
 * a style: `url(...)` would make a request to another server.
 */

const COLOR_LITERAL = /^(?:#[0-9a-f]{3}|#[0-9a-f]{6}|[a-z]{3,24}|(?:rgb|hsl)\([0-9.,%/ a-z]{1,40}\))$/i;
const COLLABORATOR_VARIABLE = /^var\((--jp-collaborator-color([1-9]))\)$/;
/** From JupyterLab's light theme, for pages without that theme. */
const COLLABORATOR_COLORS = ["#ad4a00", "#7b6a00", "#007e00", "#008772", "#0079b9", "#8b45c6", "#be208b"] as const;

export interface AvatarColors {
  readonly background: string;
  readonly color: "#000" | "#fff";
}

/** Null if it is not an opaque colour. Either black or white always has a contrast of at least 4.5 : 1 to it. */
export function avatarColors(color: string): AvatarColors | null {
  const background = toHex(resolveVariable(color));
  if (background === null) return null;
  const light = luminance(background);
  return { background, color: (light + 0.05) / 0.05 > 1.05 / (light + 0.05) ? "#000" : "#fff" };
}

function resolveVariable(color: string): string {
  const [, name, number] = COLLABORATOR_VARIABLE.exec(color) ?? [];
  if (name === undefined) return color;
  const themed = getComputedStyle(document.body).getPropertyValue(name).trim();
  return themed || COLLABORATOR_COLORS[(Number(number) - 1) % COLLABORATOR_COLORS.length]!;
}

function toHex(literal: string): string | null {
  if (!COLOR_LITERAL.test(literal)) return null;
  const [, r, g, b] = /^#(.)(.)(.)$/.exec(literal) ?? [];
  if (r !== undefined) return `#${r}${r}${g}${g}${b}${b}`.toLowerCase();
  return literal.startsWith("#") ? literal.toLowerCase() : parseWithCanvas(literal);
}

let canvas: OffscreenCanvasRenderingContext2D | null | undefined;

/** Uses the browser's parser. A canvas keeps its previous colour if it is given an invalid one. */
function parseWithCanvas(literal: string): string | null {
  canvas ??= typeof OffscreenCanvas === "undefined" ? null : new OffscreenCanvas(1, 1).getContext("2d");
  if (canvas === null) return null;
  const parsed = ["#000000", "#ffffff"].map((before) => {
    canvas!.fillStyle = before;
    canvas!.fillStyle = literal;
    return canvas!.fillStyle;
  });
  return parsed[0] === parsed[1] && /^#[0-9a-f]{6}$/.test(parsed[0]!) ? parsed[0]! : null;
}

/** The relative luminance of WCAG 2. */
function luminance(hex: string): number {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const channel = parseInt(hex.slice(at, at + 2), 16) / 255;
    return channel <= 0.03928 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
}
