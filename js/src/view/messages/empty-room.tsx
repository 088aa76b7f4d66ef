/** What an empty room shows: how people and code take part in it. */

import type { JSX } from "preact";
import { strings } from "../../i18n/strings";
import { SpeechIcon } from "../shared/icons";

export function EmptyRoom({ room }: { readonly room: string }): JSX.Element {
  const { open, send, ask, track } = strings.examples;
  const examples = [
    [open, `room = Room("${room}")`],
    [send, 'room.send("Hello")'],
    [ask, 'room.ask("Continue?", choices=["yes", "no"])'],
    [track, "for step in room.track(range(100)):"],
  ] as const;
  return (
    <div class="bq-empty">
      <SpeechIcon />
      <p>
        <b>{strings.roomEmpty}</b>
      </p>
      <p>{strings.roomEmptyCode}</p>
      <dl class="bq-examples">
        {examples.map(([what, code]) => (
          <div key={code}>
            <dt>{what}</dt>
            <dd dir="ltr">{code}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}
