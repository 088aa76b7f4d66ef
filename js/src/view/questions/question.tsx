/** A question: a button per choice or a text field; once it is answered or has expired, one line. */

import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { formatTime } from "../../i18n/format";
import { strings } from "../../i18n/strings";
import type { Message } from "../../protocol/entries";
import { askedUsers } from "../../protocol/folding";
import { useNow } from "../shared/hooks";
import { EndedQuestion } from "./ended-question";

interface Props {
  readonly question: Message;
  /** The answer that counts, if it is in the list. */
  readonly answer: Message | null;
  /** When it ends by the reader's clock, in milliseconds since the epoch. */
  readonly endsAt: number | null;
  readonly user: string;
  /** An answer of the reader is being sent. */
  readonly answering: boolean;
  readonly onAnswer: (question: Message, text: string, choice: boolean) => boolean;
  /** The time and the state of the message. */
  readonly meta: JSX.Element;
  /** The text of the message, with what it quotes and its attachments. */
  readonly children: ComponentChildren;
}

export function Question({ question, answer, endsAt, user, answering, onAnswer, meta, children }: Props): JSX.Element {
  const isOpen = question.answer === undefined && question.expired === undefined;
  const now = useNow(isOpen ? endsAt : null);
  if (!isOpen || (endsAt !== null && now >= endsAt)) {
    return (
      <EndedQuestion question={question} answer={answer} meta={meta}>
        {children}
      </EndedQuestion>
    );
  }
  const { choices } = question.ask ?? {};
  const asked = askedUsers(question.ask ?? {});
  const disabled = answering || (asked.length > 0 && !asked.includes(user));
  return (
    <>
      <p class="bq-label">{strings.question}</p>
      {children}
      {choices?.length ? (
        <div class="bq-choices">
          {[...new Set(choices)].map((choice) => (
            <button
              key={choice}
              type="button"
              class="bq-choice"
              dir="auto"
              disabled={disabled}
              onClick={() => onAnswer(question, choice, true)}
            >
              {choice}
            </button>
          ))}
        </div>
      ) : (
        <FreeAnswer disabled={disabled} onAnswer={(text) => onAnswer(question, text, false)} />
      )}
      <div class="bq-line">
        {(asked.length > 0 || endsAt !== null) && (
          <p class="bq-outcome" dir="auto">
            {[asked.length > 0 && strings.onlyFrom(asked.join(", ")), endsAt !== null && strings.openUntil(formatTime(endsAt))]
              .filter(Boolean)
              .join(" · ")}
          </p>
        )}
        {meta}
      </div>
    </>
  );
}

interface FreeAnswerProps {
  readonly disabled: boolean;
  readonly onAnswer: (text: string) => boolean;
}

function FreeAnswer({ disabled, onAnswer }: FreeAnswerProps): JSX.Element {
  const [text, setText] = useState("");
  const submit = (event: Event): void => {
    event.preventDefault();
    if (text.trim() !== "" && onAnswer(text.trim())) setText("");
  };
  return (
    <form class="bq-free" onSubmit={submit}>
      <input
        class="bq-field"
        aria-label={strings.yourAnswer}
        placeholder={strings.yourAnswer}
        dir="auto"
        autocomplete="off"
        value={text}
        disabled={disabled}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <button type="submit" class="bq-choice" disabled={disabled}>
        {strings.answer}
      </button>
    </form>
  );
}
