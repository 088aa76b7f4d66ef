/** Renders Markdown with elements from an allow-list; everything else stays text.
 *
 * The list: paragraphs, headings, rules, emphasis, code, lists, quotes, tables, formulas, and links to http, https and
 * mailto. Line breaks and spaces are those of the text (`white-space: pre-wrap`).
 */

import type { Token, Tokens } from "marked";
import { Component, type ComponentChildren, type JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { strings } from "../../i18n/strings";
import { BlockParser } from "../../worker/block-parser";
import type { NumberedItem, TypedToken } from "../../worker/markdown/blocks";
import type { MathToken } from "../../worker/markdown/math";
import { isPlain, MAX_SYNC_CHARACTERS, tokenize } from "../../worker/tokenize";
import { useWorkerJob } from "../shared/hooks";
import { CodeBlock } from "./code-block";
import { Formula } from "./formula";
import { inlines, MAX_DEPTH, withLinks } from "./inlines";

interface Props {
  readonly text: string;
  /** The text is not Markdown, only its addresses are links. */
  readonly plain?: boolean;
  /** It is being written: it is drawn block by block, also after its end, so that what was drawn stays. */
  readonly live?: boolean;
}

export function Markdown({ text, plain = false, live = false }: Props): JSX.Element {
  const growing = useGrowingBlocks(text, live && !plain);
  const large = growing === null && !plain && text.length > MAX_SYNC_CHARACTERS && !isPlain(text);
  const parsed = useWorkerJob(large ? { do: "parse", text } : null);
  if (plain) return <p dir="auto">{withLinks(text)}</p>;
  const tokens = growing ?? (large ? parsed : tokenize(text));
  return tokens === null ? <p dir="auto">{text}</p> : <>{tokens.map((token) => <TopBlock token={token} />)}</>;
}

/** The blocks of a text that is or was live; null for other texts. */
function useGrowingBlocks(text: string, live: boolean): readonly Token[] | null {
  const parser = useRef<BlockParser | null>(null);
  const [, rerender] = useState({});
  if (live) parser.current ??= new BlockParser(() => performance.now());
  const delay = parser.current?.update(text) ?? 0;
  // Not an effect, which would request a frame of its own with each piece.
  useLayoutEffect(() => {
    if (delay === 0) return undefined;
    const timer = setTimeout(() => rerender({}), delay);
    return () => clearTimeout(timer);
  }, [text, delay]);
  return parser.current?.tokens ?? null;
}

/** With the line breaks after it, which have no height there: a selection copies the text as typed.
 *
 * Rendered again only with another token.
 */
class TopBlock extends Component<{ readonly token: Token }> {
  override shouldComponentUpdate({ token }: { readonly token: Token }): boolean {
    return token !== this.props.token;
  }

  render(): ComponentChildren {
    const { token } = this.props;
    return [block(token, 0), token.type === "space" ? token.raw : /\n*$/.exec(token.raw)![0]];
  }
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
    case "typed":
      return <pre class="bq-typed">{withLinks((token as TypedToken).text)}</pre>;
    case "code": {
      const { text, lang } = token as Tokens.Code;
      // An empty code block is probably a typing error: show the source.
      return text === "" ? <p {...direction(depth)}>{token.raw.trim()}</p> : <CodeBlock text={text} info={lang ?? ""} />;
    }
    case "math":
      return (
        <p>
          <Formula {...(token as MathToken)} />
        </p>
      );
    case "blockquote":
      return <blockquote {...direction(depth)}>{blocks((token as Tokens.Blockquote).tokens, depth + 1)}</blockquote>;
    case "list":
      return list(token as Tokens.List, depth);
    case "table":
      return table(token as Tokens.Table, depth);
    case "hr":
      return <hr />;
    case "heading":
      return heading(token as Tokens.Heading, depth);
    case "paragraph":
      return <p {...direction(depth)}>{inlines((token as Tokens.Paragraph).tokens, depth + 1)}</p>;
    case "text": {
      // The text of a list item: without a paragraph, which would add space between the items.
      const { tokens, text } = token as Tokens.Text;
      return <span class="bq-lines">{tokens ? inlines(tokens, depth + 1) : text}</span>;
    }
    default:
      return <p {...direction(depth)}>{token.raw}</p>;
  }
}

/** In the outline of the page, in which the levels of many messages would make no order. */
const PAGE_LEVEL = 2;
const HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"] as const;

function heading({ depth: level, tokens }: Tokens.Heading, depth: number): JSX.Element {
  const Heading = HEADINGS[level - 1] ?? "h6";
  return (
    <Heading aria-level={PAGE_LEVEL} {...direction(depth)}>
      {inlines(tokens, depth + 1)}
    </Heading>
  );
}

function list(token: Tokens.List, depth: number): JSX.Element {
  const items = token.items.map((item: NumberedItem) => (
    <li class={item.task ? "bq-task" : undefined} value={item.value}>
      {item.task && <input type="checkbox" disabled checked={item.checked === true} aria-label={item.checked ? strings.done : strings.notDone} />}
      {item.tokens.map((part) => (part.type === "checkbox" ? null : block(part, depth + 1)))}
    </li>
  ));
  if (!token.ordered) return <ul {...direction(depth)}>{items}</ul>;
  return (
    <ol start={Number(token.start)} {...direction(depth)}>
      {items}
    </ol>
  );
}

function table({ header, rows }: Tokens.Table, depth: number): JSX.Element {
  const cells = (Cell: "th" | "td", row: readonly Tokens.TableCell[]): JSX.Element => (
    <tr>
      {row.map(({ tokens, align }) => (
        <Cell dir="auto" class={align === null ? undefined : `bq-${align}`}>
          {inlines(tokens, depth + 1)}
        </Cell>
      ))}
    </tr>
  );
  return (
    // Focusable, so that the keyboard can scroll it.
    <div class="bq-grid" tabIndex={0} role="group" aria-label={strings.table}>
      <table>
        <thead>{cells("th", header)}</thead>
        {rows.length > 0 && <tbody>{rows.map((row) => cells("td", row))}</tbody>}
      </table>
    </div>
  );
}
