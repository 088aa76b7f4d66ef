/** A message's text as elements from an allow-list; whatever is not on the list stays text.
 *
 * What the list allows: paragraphs, line breaks, emphasis, code, lists, quotes, and links to http, https and mailto.
 */

import type { Token, Tokens } from "marked";
import type { ComponentChildren, JSX } from "preact";
import { isPlain, parse } from "../../worker/tokenize";
import { Code } from "./code-block";
import { useWork } from "../shared/hooks";

/** Deeper than anyone writes by hand; below it the source is shown. */
const DEEPEST = 8;
/** Characters from which on it is parsed off the main thread, and until then shown as it is written. */
const LARGE = 2_000;

export function Markdown({ text }: { readonly text: string }): JSX.Element {
  const large = text.length > LARGE && !isPlain(text);
  const answer = useWork(large ? { do: "parse", text } : null);
  const tokens = large ? answer : parse(text);
  return tokens === null ? <p dir="auto">{text}</p> : <>{blocks(tokens, 0)}</>;
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
      // A fence around nothing is more likely a slip than code: it stays what was typed.
      return text === "" ? <p {...direction(depth)}>{token.raw.trim()}</p> : <Code text={text} info={lang ?? ""} />;
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
