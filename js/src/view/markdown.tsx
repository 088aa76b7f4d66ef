/** A message's text as elements from an allow-list; whatever is not on the list stays text.
 *
 * marked only splits the text into tokens here: none of its HTML is ever made. What the list allows:
 * paragraphs, line breaks, emphasis, code, lists, quotes, and links to http, https and mailto.
 */

import { Lexer, Tokenizer, type MarkedOptions, type Token, type Tokens } from "marked";
import type { ComponentChildren, JSX } from "preact";
import { Code } from "./code";

/** Deeper than anyone writes by hand; below it the source is shown. */
const DEEPEST = 8;
/** Text that nobody writes by hand, on which the parser takes more than a few milliseconds: shown as written. */
const UNBROKEN = /\S{2000}/;
const DELIMITERS = /[*_~`[\]<>!]/g;
const MOST_DELIMITERS = 1_000;

const none = (): undefined => undefined;

/** Markdown that would hide what was typed, or that has no element on the list, is not syntax here. */
class ChatTokenizer extends Tokenizer {
  override html = none;
  override tag = none;
  override def = none;
  override table = none;
  override lheading = none;
  override hr = none;
  override reflink = none;
}

const OPTIONS: MarkedOptions = { gfm: true, breaks: true, tokenizer: new ChatTokenizer() };

/** Plain words: no character in here can begin syntax. Most messages are such, and skip the parser. */
const PLAIN = /^[^\\`*_~[\]<>#&|\n\t:/@+\-.)0-9][^\\`*_~[\]<>#&|\n\t:/@]*$/;

export function Markdown({ text }: { readonly text: string }): JSX.Element {
  if (isPlain(text)) return <p dir="auto">{text}</p>;
  try {
    return <>{blocks(new Lexer(OPTIONS).lex(text), 0)}</>;
  } catch {
    // A parser's limits (recursion) are no reason not to show what was said.
    return <p dir="auto">{text}</p>;
  }
}

function isPlain(text: string): boolean {
  if (text.length < 2_000) return PLAIN.test(text) && !text.includes("www.");
  return UNBROKEN.test(text) || (text.match(DELIMITERS)?.length ?? 0) > MOST_DELIMITERS;
}

function blocks(tokens: readonly Token[], depth: number): ComponentChildren {
  return tokens.map((token) => block(token, depth));
}

/** A block runs in the direction of its own first letter. What stands inside it follows: `auto` looks past what has a `dir`. */
const direction = (depth: number): { dir?: "auto" } => (depth === 0 ? { dir: "auto" } : {});

function block(token: Token, depth: number): ComponentChildren {
  if (depth > DEEPEST) return <p>{token.raw}</p>;
  switch (token.type) {
    case "space":
      return null;
    case "code": {
      const { text, lang } = token as Tokens.Code;
      return <Code text={text} language={lang ?? ""} />;
    }
    case "blockquote":
      return <blockquote {...direction(depth)}>{blocks((token as Tokens.Blockquote).tokens, depth + 1)}</blockquote>;
    case "list":
      return list(token as Tokens.List, depth);
    case "heading":
      return (
        <p {...direction(depth)}>
          <strong>{inlines((token as Tokens.Heading).tokens, depth + 1)}</strong>
        </p>
      );
    case "paragraph":
      return <p {...direction(depth)}>{inlines((token as Tokens.Paragraph).tokens, depth + 1)}</p>;
    case "text": {
      // A list item's own text: no paragraph of its own, or tight lists would fall apart.
      const { tokens, text } = token as Tokens.Text;
      return tokens ? inlines(tokens, depth + 1) : text;
    }
    default:
      return <p {...direction(depth)}>{token.raw}</p>;
  }
}

function list(token: Tokens.List, depth: number): JSX.Element {
  const items = token.items.map((item) => (
    <li>
      {item.task && (item.checked ? "☑ " : "☐ ")}
      {item.tokens.map((part) => (part.type === "checkbox" ? null : block(part, depth + 1)))}
    </li>
  ));
  if (!token.ordered) return <ul {...direction(depth)}>{items}</ul>;
  return (
    <ol start={Number(token.start) || 1} {...direction(depth)}>
      {items}
    </ol>
  );
}

function inlines(tokens: readonly Token[], depth: number): ComponentChildren {
  return tokens.map((token) => inline(token, depth));
}

function inline(token: Token, depth: number): ComponentChildren {
  if (depth > DEEPEST) return token.raw;
  switch (token.type) {
    case "text": {
      const { tokens, text } = token as Tokens.Text;
      return tokens ? inlines(tokens, depth + 1) : text;
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
    case "br":
      return <br />;
    case "link":
      return link(token as Tokens.Link, depth);
    case "image":
      // An image would be a request to wherever a stranger says; its address can be followed by hand.
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
  const address = safeAddress(href);
  if (address === null) return raw;
  return (
    <a href={address} target="_blank" rel="noopener noreferrer" title={address}>
      {content}
    </a>
  );
}

/** The address, if it is absolute and of a kind that cannot run anything here; else null. */
export function safeAddress(href: string): string | null {
  try {
    const url = new URL(href);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}
