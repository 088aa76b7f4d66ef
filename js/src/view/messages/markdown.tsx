/** Renders Markdown with elements from an allow-list; everything else stays text.
 *
 * The list: paragraphs, line breaks, emphasis, code, lists, quotes, and links to http, https and mailto.
 */

import type { Token, Tokens } from "marked";
import type { ComponentChildren, JSX } from "preact";
import { isPlain, tokenize } from "../../worker/tokenize";
import { useWorkerJob } from "../shared/hooks";
import { CodeBlock } from "./code-block";

/** Deeper than people write; below it the source is shown. */
const MAX_DEPTH = 8;
/** Longer text is parsed in the worker, and shown as it was written until then. */
const MAX_SYNC_CHARACTERS = 2_000;

export function Markdown({ text }: { readonly text: string }): JSX.Element {
  const large = text.length > MAX_SYNC_CHARACTERS && !isPlain(text);
  const parsed = useWorkerJob(large ? { do: "parse", text } : null);
  const tokens = large ? parsed : tokenize(text);
  return tokens === null ? <p dir="auto">{text}</p> : <>{blocks(tokens, 0)}</>;
}

function blocks(tokens: readonly Token[], depth: number): ComponentChildren {
  return tokens.map((token) => block(token, depth));
}

/** Outer blocks take their direction from their first letter; inner ones inherit it, as `auto` skips elements with a `dir`. */
const direction = (depth: number): { dir?: "auto" } => (depth === 0 ? { dir: "auto" } : {});

function block(token: Token, depth: number): ComponentChildren {
  if (depth > MAX_DEPTH) return <p>{token.raw}</p>;
  switch (token.type) {
    case "space":
      return null;
    case "code": {
      const { text, lang } = token as Tokens.Code;
      // An empty code block is probably a typing error: show the source.
      return text === "" ? <p {...direction(depth)}>{token.raw.trim()}</p> : <CodeBlock text={text} info={lang ?? ""} />;
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
      // The text of a list item: without a paragraph, which would add space between the items.
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
  if (depth > MAX_DEPTH) return token.raw;
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
