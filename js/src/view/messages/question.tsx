/** A question's own controls: a button per choice, or a line to write in; then what became of it. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Message } from "../../protocol/frames";
import { useNow } from "../shared/hooks";
import { endOf } from "./rows";
import { timeOf } from "../../i18n/format";
import { words } from "../../i18n/strings";

interface Props {
  readonly question: Message;
  /** The message that answered it, where that is in the list. */
  readonly answer: Message | null;
  readonly user: string;
  /** An answer from here is on its way. */
  readonly answering: boolean;
  readonly onAnswer: (question: Message, text: string, choice: boolean) => boolean;
}

export function Question({ question, answer, user, answering, onAnswer }: Props): JSX.Element {
  const end = endOf(question);
  const now = useNow(question.answer === undefined && Number.isFinite(end) ? end : null);
  if (question.answer !== undefined) {
    return (
      <p class="bq-outcome bq-answered" dir="auto">
        {answer === null ? words.answered : words.answeredBy(answer.user, answer.choice ?? answer.text)}
      </p>
    );
  }
  // Ended by its asker: whatever this browser's clock says.
  if (question.expired !== undefined || now >= end) return <p class="bq-outcome">{words.expired}</p>;
  const { choices, from } = question.ask ?? {};
  const closed = answering || (from !== undefined && from !== user);
  return (
    <>
      {choices?.length ? (
        <div class="bq-choices">
          {[...new Set(choices)].map((choice) => (
            <button
              key={choice}
              type="button"
              class="bq-choice"
              dir="auto"
              disabled={closed}
              onClick={() => onAnswer(question, choice, true)}
            >
              {choice}
            </button>
          ))}
        </div>
      ) : (
        <FreeAnswer disabled={closed} onAnswer={(text) => onAnswer(question, text, false)} />
      )}
      {(from !== undefined || Number.isFinite(end)) && (
        <p class="bq-outcome" dir="auto">
          {[from !== undefined && words.onlyFrom(from), Number.isFinite(end) && words.until(timeOf(end))]
            .filter(Boolean)
            .join(" · ")}
        </p>
      )}
    </>
  );
}

interface FreeProps {
  readonly disabled: boolean;
  readonly onAnswer: (text: string) => boolean;
}

function FreeAnswer({ disabled, onAnswer }: FreeProps): JSX.Element {
  const [text, setText] = useState("");
  const submit = (event: Event): void => {
    event.preventDefault();
    if (text.trim() !== "" && onAnswer(text.trim())) setText("");
  };
  return (
    <form class="bq-free" onSubmit={submit}>
      <input
        class="bq-field"
        aria-label={words.yourAnswer}
        placeholder={words.yourAnswer}
        dir="auto"
        autocomplete="off"
        value={text}
        disabled={disabled}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <button type="submit" class="bq-choice" disabled={disabled}>
        {words.answer}
      </button>
    </form>
  );
}
