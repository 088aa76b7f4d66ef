/** MathML as elements: names, attributes and styles from an allow-list, lengths within bounds. */

import { h, type ComponentChildren } from "preact";
import type { MathTree } from "../../worker/jobs";

const ELEMENTS = new Set([
  ...["math", "mrow", "mi", "mo", "mn", "mtext", "ms", "mspace", "msup", "msub", "msubsup", "mover", "munder", "munderover"],
  ...["mfrac", "msqrt", "mroot", "mtable", "mtr", "mtd", "mstyle", "mpadded", "mphantom", "menclose", "mmultiscripts"],
  ...["mprescripts", "none"],
]);

/** In em; of other units the same number is less, or not used by Temml. */
const MAX_LENGTH = 60;
const LENGTH = /^([+-]?\d*\.?\d+)(?:em|ex|px|pt|cm|mm|in|width|height|%)?$/;
const COLOR = /^(?:#[0-9a-f]{3,8}|[a-z]{3,30})$/i;
const BORDER = /^[\d.]+(?:em|ex|px|pt) (?:solid|dashed)(?: #[0-9a-f]{3,8})?$/i;
const FLAG = /^(?:true|false)$/;

const isLength = (value: string): boolean => Math.abs(Number(LENGTH.exec(value)?.[1] ?? NaN)) <= MAX_LENGTH || /^[\d.]+%$/.test(value);
const isLengths = (value: string): boolean => value.split(" ").length <= 4 && value.split(" ").every(isLength);
const matches =
  (pattern: RegExp) =>
  (value: string): boolean =>
    pattern.test(value);

type Check = (value: string) => boolean;
const checks = (entries: readonly (readonly [Check, string])[]): ReadonlyMap<string, Check> =>
  new Map(entries.flatMap(([check, names]) => names.split(" ").map((name) => [name, check] as const)));

const ATTRIBUTES = checks([
  [isLength, "lspace rspace width height depth voffset minsize maxsize linethickness mathsize columnspacing rowspacing"],
  [matches(FLAG), "stretchy fence symmetric movablelimits largeop separator accent accentunder displaystyle"],
  [matches(COLOR), "mathcolor mathbackground"],
  [matches(/^(?:block|inline)$/), "display"],
  [matches(/^(?:normal|italic)$/), "mathvariant"],
  [matches(/^(?:prefix|infix|postfix)$/), "form"],
  [matches(/^[+-]?[0-3]$/), "scriptlevel"],
  [matches(/^[a-z ]{1,80}$/), "notation columnalign rowalign columnlines rowlines"],
  [matches(/^[a-z0-9 -]{1,80}$/), "class"],
]);

const STYLES = checks([
  [isLengths, "padding paddingLeft paddingRight paddingTop paddingBottom marginLeft marginRight width height minWidth"],
  [matches(BORDER), "border borderTop borderBottom borderLeft borderRight"],
  [matches(COLOR), "color backgroundColor"],
  [matches(/^(?:block math|inline-block)$/), "display"],
  [matches(/^(?:relative|absolute)$/), "position"],
  [matches(/^0$/), "left right bottom top mathDepth"],
  [matches(/^(?:left|right|center)$/), "textAlign"],
]);

/** Null for an element that is not on the list; its text is then shown in its place. */
export function mathElement(tree: MathTree): ComponentChildren {
  if (typeof tree === "string") return tree;
  const [name, attributes, style, children] = tree;
  const content = children.map(mathElement);
  if (!ELEMENTS.has(name)) return content;
  const bold = attributes.style === "font-weight:bold" ? { fontWeight: "bold" } : {};
  const styles = { ...bold, ...allowed(style, STYLES) };
  return h(name, { ...allowed(attributes, ATTRIBUTES), ...(Object.keys(styles).length > 0 && { style: styles }) }, content);
}

const allowed = (values: Readonly<Record<string, string>>, list: ReadonlyMap<string, Check>): Record<string, string> =>
  Object.fromEntries(Object.entries(values).filter(([name, value]) => list.get(name)?.(value) === true));
