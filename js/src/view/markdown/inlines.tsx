/** What is inside a paragraph: emphasis, code, links and formulas. */

import type { Token, Tokens } from "marked";
import type { ComponentChildren } from "preact";
import { CJK_PUNCTUATION, SENTENCE_END } from "../../worker/markdown/inlines";
import type { MathToken } from "../../worker/markdown/math";
import { MentionText } from "../shared/mention-text";
import { Formula } from "./formula";

/** Deeper than people write; below it the source is shown. */
export const MAX_DEPTH = 8;

export function inlines(tokens: readonly Token[], depth: number): ComponentChildren {
  return tokens.map((token) => inline(token, depth));
}

function inline(token: Token, depth: number): ComponentChildren {
  if (depth > MAX_DEPTH) return token.raw;
  switch (token.type) {
    case "text": {
      const { tokens, text } = token as Tokens.Text;
      return tokens ? inlines(tokens, depth + 1) : withMentions(text);
    }
    case "escape":
      return (token as Tokens.Escape).text;
    case "strong":
      return <strong>{inlines((token as Tokens.Strong).tokens, depth + 1)}</strong>;
    case "em":
      return <em>{inlines((token as Tokens.Em).tokens, depth + 1)}</em>;
    case "del":
      return <del>{inlines((token as Tokens.Del).tokens, depth + 1)}</del>;
    case "codespan":
      return <code dir="ltr">{(token as Tokens.Codespan).text}</code>;
    case "math":
      return <Formula {...(token as MathToken)} />;
    case "link":
      return link(token as Tokens.Link, depth);
    case "image":
      // A link, because an image would make a request to any server its author chose.
      return anchor((token as Tokens.Image).href, (token as Tokens.Image).text || (token as Tokens.Image).href, token.raw);
    case "checkbox":
      return null;
    default:
      return token.raw;
  }
}

function link(token: Tokens.Link, depth: number): ComponentChildren {
  const content = token.text.trim() === "" ? token.href : inlines(token.tokens, depth + 1);
  return anchor(token.href, content, token.raw);
}

function anchor(href: string, content: ComponentChildren, raw: string): ComponentChildren {
  const url = safeUrl(href);
  if (url === null) return raw;
  return (
    <a href={url} target="_blank" rel="noopener noreferrer" title={url}>
      {content}
    </a>
  );
}

/** The URL if it is absolute and of a scheme that cannot run code; otherwise null. */
export function safeUrl(href: string): string | null {
  try {
    const url = new URL(href);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

const NOT_IN_ADDRESS = String.raw`\s<>"'\`(){}[\]${CJK_PUNCTUATION}`;
const ADDRESS = new RegExp(String.raw`(https?://[^${NOT_IN_ADDRESS}]*[^${NOT_IN_ADDRESS}${SENTENCE_END}.,;:!?*])`);

/** Text as typed, in which only addresses are links. */
export const withLinks = (text: string): ComponentChildren =>
  text.split(ADDRESS).map((part, index) => (index % 2 === 0 ? withMentions(part) : anchor(part, part, part)));

const withMentions = (text: string): ComponentChildren => (text.includes("@") ? <MentionText text={text} /> : text);
