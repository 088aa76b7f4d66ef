/** A question that was answered or has expired, in one line: what was asked, and who answered what. */

import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { strings } from "../../i18n/strings";
import type { Message } from "../../protocol/entries";
import { IconButton } from "../shared/icon-button";
import { ExpandIcon } from "../shared/icons";
import { truncate } from "../shared/text";

/** A longer question or answer is cut, and shown whole on request. */
const MAX_LINE_CHARACTERS = 80;

interface Props {
  readonly question: Message;
  /** The answer that counts, if it is in the list. */
  readonly answer: Message | null;
  /** The time and the state of the message. */
  readonly meta: JSX.Element;
  /** The whole question. */
  readonly children: ComponentChildren;
}

export function EndedQuestion({ question, answer, meta, children }: Props): JSX.Element {
  const [open, setOpen] = useState(false);
  const [asked, replied] = [question.text.trim(), (answer?.choice ?? answer?.text ?? "").trim()];
  const long = Boolean(question.parts?.length) || [asked, replied].some((text) => cut(text) !== text);
  const outcome = (text: string): string => {
    if (question.answer === undefined) return strings.expired;
    return answer === null ? strings.answered : strings.answeredBy(answer.user, text);
  };
  return (
    <div class={`bq-settled${long && !open ? " bq-cut" : ""}`}>
      <span class="bq-sr">{strings.question}</span>
      {open && <div class="bq-asked">{children}</div>}
      {!open && asked !== "" && <span dir="auto">{cut(asked)}</span>}
      <span class={answer === null ? "bq-outcome" : "bq-outcome bq-answered"} dir="auto">
        {outcome(open ? replied : cut(replied))}
      </span>
      {long && (
        <IconButton label={open ? strings.showLess : strings.showAll} aria-expanded={open} onClick={() => setOpen(!open)}>
          <ExpandIcon />
        </IconButton>
      )}
      {meta}
    </div>
  );
}

/** The first line, or what fits of it. */
function cut(text: string): string {
  const [line = ""] = text.split("\n", 1);
  const shown = truncate(line, MAX_LINE_CHARACTERS);
  return shown === line && line !== text ? `${line}…` : shown;
}
