/** Somebody else's colour, made safe to paint with: plain red, green and blue, and the ink that reads on it.
 *
 * Jupyter gives any CSS colour, JupyterLab's own as `var(--jp-collaborator-color1)`. What isn't plainly one of
 * these is not handed to the style sheet at all: `url(...)` would ask somebody's server for a picture.
 */

const LITERAL = /^(?:#[0-9a-f]{3}|#[0-9a-f]{6}|[a-z]{3,24}|(?:rgb|hsl)\([0-9.,%/ a-z]{1,40}\))$/i;
const COLLABORATOR = /^var\((--jp-collaborator-color([1-9]))\)$/;
/** JupyterLab's light theme; elsewhere there is no such variable. */
const OUTSIDE_LAB = ["#ad4a00", "#7b6a00", "#007e00", "#008772", "#0079b9", "#8b45c6", "#be208b"] as const;

export interface Paint {
  readonly background: string;
  readonly color: "#000" | "#fff";
}

/** Null where it is no colour, or one that can be seen through. One of black and white always has 4.5 : 1 on it. */
export function paintOf(color: string): Paint | null {
  const background = hexOf(literalOf(color));
  if (background === null) return null;
  const light = luminanceOf(background);
  return { background, color: (light + 0.05) / 0.05 > 1.05 / (light + 0.05) ? "#000" : "#fff" };
}

function literalOf(color: string): string {
  const [, name, number] = COLLABORATOR.exec(color) ?? [];
  if (name === undefined) return color;
  const themed = getComputedStyle(document.body).getPropertyValue(name).trim();
  return themed || OUTSIDE_LAB[(Number(number) - 1) % OUTSIDE_LAB.length]!;
}

function hexOf(literal: string): string | null {
  if (!LITERAL.test(literal)) return null;
  const [, r, g, b] = /^#(.)(.)(.)$/.exec(literal) ?? [];
  if (r !== undefined) return `#${r}${r}${g}${g}${b}${b}`.toLowerCase();
  return literal.startsWith("#") ? literal.toLowerCase() : parsed(literal);
}

let canvas: OffscreenCanvasRenderingContext2D | null | undefined;

/** What the browser takes it for. A canvas ignores what it doesn't understand: then it keeps what it had. */
function parsed(literal: string): string | null {
  canvas ??= typeof OffscreenCanvas === "undefined" ? null : new OffscreenCanvas(1, 1).getContext("2d");
  if (canvas === null) return null;
  const took = ["#000000", "#ffffff"].map((before) => {
    canvas!.fillStyle = before;
    canvas!.fillStyle = literal;
    return canvas!.fillStyle;
  });
  return took[0] === took[1] && /^#[0-9a-f]{6}$/.test(took[0]!) ? took[0]! : null;
}

/** The relative luminance of WCAG 2. */
function luminanceOf(hex: string): number {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const part = parseInt(hex.slice(at, at + 2), 16) / 255;
    return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
}
