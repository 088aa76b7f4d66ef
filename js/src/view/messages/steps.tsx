/** The steps of a live message, such as a search: open while it is written, then folded to one line. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { formatDuration } from "../../i18n/format";
import { strings } from "../../i18n/strings";
import type { Step } from "../../protocol/entries";
import { CheckIcon, CloseIcon } from "../shared/icons";

const MIN_SHOWN_MS = 100;

interface Props {
  readonly steps: readonly Step[];
  readonly live: boolean;
}

export function Steps({ steps, live }: Props): JSX.Element {
  /** Null until the reader opens or folds them. */
  const [chosen, setChosen] = useState<boolean | null>(null);
  const open = chosen ?? live;
  const failed = steps.filter(({ state }) => state === "failed").length;
  const summary = [strings.stepCount(steps.length), failed > 0 && strings.stepsFailed(failed)].filter(Boolean).join(" · ");
  return (
    <div class="bq-steps">
      <button type="button" class="bq-toggle" aria-expanded={open} onClick={() => setChosen(!open)}>
        {summary}
      </button>
      {open && (
        <ul aria-label={strings.steps}>
          {steps.map((step) => (
            <StepItem key={step.id} step={step} />
          ))}
        </ul>
      )}
    </div>
  );
}

function StepItem({ step: { title, state, text, ms } }: { readonly step: Step }): JSX.Element {
  const [open, setOpen] = useState(false);
  const name = <span dir="auto">{title}</span>;
  return (
    <li class={`bq-step bq-step-${state}`}>
      <span class="bq-step-state" title={strings.stepStates[state]}>
        {state === "done" && <CheckIcon />}
        {state === "failed" && <CloseIcon />}
        <span class="bq-sr">{strings.stepStates[state]}</span>
      </span>
      {text ? (
        <button type="button" class="bq-toggle" aria-expanded={open} onClick={() => setOpen(!open)}>
          {name}
        </button>
      ) : (
        name
      )}
      {ms !== undefined && ms >= MIN_SHOWN_MS && <small>{formatDuration(ms)}</small>}
      {text && open && (
        <p class="bq-step-text" dir="auto">
          {text}
        </p>
      )}
    </li>
  );
}
