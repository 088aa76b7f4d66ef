/** The controls of a question: a button per choice or a text field; afterwards the outcome. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { formatTime } from "../../i18n/format";
import { strings } from "../../i18n/strings";
import type { Message } from "../../protocol/entries";
import { askedUsers } from "../../protocol/folding";
import { useNow } from "../shared/hooks";

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
}

export function Question({ question, answer, endsAt, user, answering, onAnswer }: Props): JSX.Element {
  const isOpen = question.answer === undefined && question.expired === undefined;
  const now = useNow(isOpen ? endsAt : null);
  if (question.answer !== undefined) {
    return (
      <p class="bq-outcome bq-answered" dir="auto">
        {answer === null ? strings.answered : strings.answeredBy(answer.user, answer.choice ?? answer.text)}
      </p>
    );
  }
  if (!isOpen || (endsAt !== null && now >= endsAt)) return <p class="bq-outcome">{strings.expired}</p>;
  const { choices } = question.ask ?? {};
  const asked = askedUsers(question.ask ?? {});
  const disabled = answering || (asked.length > 0 && !asked.includes(user));
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
      {(asked.length > 0 || endsAt !== null) && (
        <p class="bq-outcome" dir="auto">
          {[asked.length > 0 && strings.onlyFrom(asked.join(", ")), endsAt !== null && strings.openUntil(formatTime(endsAt))]
            .filter(Boolean)
            .join(" · ")}
        </p>
      )}
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
