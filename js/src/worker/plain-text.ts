/** A message's text where there is only room for a line: without the marks of Markdown. */

import type { Token, Tokens } from "marked";
import { isPlain, tokenize } from "./tokenize";

/** More than a line holds. */
const MAX_CHARACTERS = 400;

export function plainText(text: string): string {
  const start = text.slice(0, MAX_CHARACTERS);
  const tokens = isPlain(start) ? null : tokenize(start);
  return (tokens === null ? start : join(tokens)).replace(/\s+/g, " ").trim();
}

const join = (tokens: readonly (Token | Tokens.ListItem | Tokens.TableCell)[], between = ""): string => tokens.map(read).join(between);

function read(token: Token | Tokens.ListItem | Tokens.TableCell): string {
  if ("type" in token) {
    if (token.type === "list") return join((token as Tokens.List).items, " ");
    if (token.type === "table") return join([...(token as Tokens.Table).header, ...(token as Tokens.Table).rows.flat()], " ");
    if (token.type === "hr" || token.type === "space") return " ";
  }
  if ("tokens" in token && Array.isArray(token.tokens)) return `${join(token.tokens)}${"type" in token && isBlock(token.type) ? " " : ""}`;
  return "text" in token && typeof token.text === "string" ? token.text : "";
}

const isBlock = (type: string): boolean => ["paragraph", "heading", "blockquote", "list_item"].includes(type);
