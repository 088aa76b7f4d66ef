/** Where one writes: a box that grows, keeps its text until it is on its way, and knows an input method. */

import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Message, Part } from "../../protocol/frames";
import type { Room } from "../../room/room";
import { isOwn, type State } from "../../model/state";
import { nameOf } from "../attachments/attachments";
import { codePoints, cut, QUOTED, wellFormed } from "../shared/text";
import { CheckIcon, CloseIcon, SendIcon } from "../shared/icons";
import { Mentions, useCompletion } from "./mention-completion";
import { rememberDraft, rememberedDraft } from "../shared/storage";
import { AttachButton, Chips, useDrop, useUploads } from "../attachments/uploads";
import { reasonOf, words } from "../../i18n/strings";

/** What the box is for just now. */
export type Mode =
  | { readonly kind: "new" }
  | { readonly kind: "reply"; readonly to: Message }
  | { readonly kind: "edit"; readonly message: Message };

export const NEW: Mode = { kind: "new" };

interface Props {
  readonly room: Room;
  readonly state: State;
  readonly mode: Mode;
  readonly onMode: (mode: Mode) => void;
  /** Nobody can speak without a name. False where there is none: it was asked for. */
  readonly onNameless: () => boolean;
}

export function Composer({ room, state, mode, onMode, onNameless }: Props): JSX.Element {
  const box = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useState(() => rememberedDraft(state.room));
  const [problem, setProblem] = useState("");
  /** What was being written before an edit began. */
  const put = useRef("");
  const returned = useReturned(state, text, mode, setText);
  const completion = useCompletion(box, state, setText);
  const uploads = useUploads(room, state.room, state.limits.part ?? 0);
  useDrop(box, uploads, () => box.current?.focus());

  useGrowth(box, text);
  useEffect(() => {
    if (mode.kind !== "edit") rememberDraft(state.room, text);
  }, [text, mode, state.room]);
  // Before anything is drawn: the next key already belongs in the box.
  useLayoutEffect(() => {
    if (mode.kind === "edit") {
      put.current = text;
      setText(mode.message.text);
    }
    if (mode.kind !== "new") box.current?.focus();
  }, [mode]);

  const over = codePoints(text) - state.limits.text;
  const leave = (): void => {
    setText(mode.kind === "edit" ? put.current : text);
    onMode(NEW);
  };
  const attached = mode.kind === "edit" ? [] : uploads.parts;
  const nothing = text.trim() === "" && attached.length === 0;
  const submit = (): void => {
    const waits = mode.kind === "edit" ? null : uploads.busy ? words.stillUploading : uploads.failed ? words.failedUpload : null;
    if (waits !== null) return setProblem(waits);
    if (nothing || over > 0 || !onNameless()) return;
    if (!deliver(room, mode, text.trim() === "" ? "" : wellFormed(text), attached, returned.current)) {
      return setProblem(words.notSent);
    }
    if (mode.kind !== "edit") uploads.sent();
    setProblem("");
    setText(mode.kind === "edit" ? put.current : "");
    onMode(NEW);
  };
  const key = (event: KeyboardEvent): void => {
    // 229 is how browsers say "the input method has it": Safari ends a composition before its Enter.
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- no other field says it there
    if (event.isComposing || event.keyCode === 229) return;
    if (completion.key(event)) return event.preventDefault();
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      submit();
    } else if (event.key === "Escape" && mode.kind !== "new") {
      leave();
    } else if (event.key === "ArrowUp" && text === "" && mode.kind === "new") {
      const message = lastOwn(state);
      if (message === undefined) return;
      event.preventDefault();
      onMode({ kind: "edit", message });
    }
  };
  const trouble = over > 0 ? words.tooLong(over, state.limits.text) : problem || (state.notice && reasonOf(state.notice));
  return (
    <form
      class="bq-composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
        box.current?.focus();
      }}
    >
      {trouble && (
        <p class="bq-trouble" role="alert" dir="auto">
          {trouble}
        </p>
      )}
      {mode.kind !== "new" && (
        <div class="bq-mode">
          <span dir="auto">{mode.kind === "edit" ? words.editing : words.replyingTo(mode.to.user)}</span>
          {mode.kind === "reply" && <q dir="auto">{cut(mode.to.text || (mode.to.parts ?? []).map(nameOf).join(", "), QUOTED)}</q>}
          <button type="button" aria-label={words.cancel} title={words.cancel} onClick={leave}>
            <CloseIcon />
          </button>
        </div>
      )}
      {mode.kind !== "edit" && <Chips uploads={uploads} />}
      <Mentions completion={completion} />
      <div class="bq-box">
        {mode.kind !== "edit" && (state.limits.part ?? 0) > 0 && <AttachButton uploads={uploads} />}
        <textarea
          ref={box}
          rows={1}
          dir="auto"
          aria-label={words.message}
          placeholder={words.placeholder(state.room)}
          enterkeyhint="send"
          aria-autocomplete="list"
          {...(completion.names.length > 0 && {
            "aria-controls": completion.id,
            "aria-activedescendant": `${completion.id}-${completion.chosen}`,
          })}
          value={text}
          onKeyDown={key}
          onSelect={completion.follow}
          onBlur={completion.close}
          onPaste={(event) => {
            const { files, types } = event.clipboardData ?? { files: [], types: [] as readonly string[] };
            // A spreadsheet's cells come with a picture of themselves: their text is what is meant.
            if (mode.kind === "edit" || types.includes("text/plain") || !uploads.add(files)) return;
            event.preventDefault();
          }}
          onInput={(event) => {
            setText(event.currentTarget.value);
            completion.follow();
            setProblem("");
            if (state.notice !== null) room.dismiss();
            if (mode.kind !== "edit") room.typing();
          }}
        />
        <button
          type="submit"
          class="bq-send"
          aria-label={mode.kind === "edit" ? words.save : words.send}
          title={mode.kind === "edit" ? words.save : words.send}
          aria-disabled={nothing || over > 0}
        >
          {mode.kind === "edit" ? <CheckIcon /> : <SendIcon />}
        </button>
      </div>
    </form>
  );
}

/** What ArrowUp edits: the newest of one's own words. An answer to a question stands as it was given. */
function lastOwn(state: State): Message | undefined {
  const { messages } = state;
  for (let index = messages.length - 1; index >= 0; index -= 1) {
    const message = messages[index]!;
    const said = !message.deleted && message.text !== "" && message.choice === undefined;
    if (said && isOwn(state, message.user)) return message;
  }
  return undefined;
}

interface Returned {
  readonly cid: string;
  readonly text: string;
}

function deliver(
  room: Room,
  mode: Mode,
  text: string,
  parts: readonly Part[],
  returned: Returned | null,
): boolean {
  if (mode.kind === "edit") return mode.message.text === text || room.edit(mode.message, text);
  if (mode.kind === "reply") return room.say(text, mode.to, parts);
  // The same text again is the same message again: under its own cid it can't be doubled.
  if (returned?.text === text && parts.length === 0) return room.retry(returned.cid);
  return room.say(text, undefined, parts);
}

/** A message that was refused comes back into an empty box, and leaves it again when a retry gets through. */
function useReturned(
  state: State,
  text: string,
  mode: Mode,
  setText: (text: string) => void,
): { readonly current: Returned | null } {
  const returned = useRef<Returned | null>(null);
  const known = useRef(new Set<string>());
  // Together with what is drawn: a key pressed in between would be overwritten.
  useLayoutEffect(() => {
    const failed = state.pending.filter((each) => each.state === "failed" && each.draft.type === "chat.send");
    const fresh = failed.find(({ cid }) => !known.current.has(cid));
    known.current = new Set(failed.map(({ cid }) => cid));
    if (returned.current !== null && !state.pending.some(({ cid }) => cid === returned.current?.cid)) {
      if (text === returned.current.text) setText("");
      returned.current = null;
    }
    const again = fresh?.draft.type === "chat.send" && fresh.draft.choice === undefined && fresh.draft.text !== "";
    if (again && text === "" && mode.kind === "new") {
      returned.current = { cid: fresh.cid, text: fresh.draft.text };
      setText(fresh.draft.text);
    }
  }, [state.pending]);
  return returned;
}

/** Also where it is laid out only later, as in a cell that is run again, or in another width. */
function useGrowth(box: { readonly current: HTMLTextAreaElement | null }, text: string): void {
  useLayoutEffect(() => grow(box.current), [text]);
  useEffect(() => {
    // In the next frame: a change of size within the observer's own turn is an error to browsers.
    const sizes = new ResizeObserver(() => requestAnimationFrame(() => grow(box.current)));
    sizes.observe(box.current!.parentElement!);
    return () => sizes.disconnect();
  }, []);
}

/** As high as its text; the style sheet sets where it ends and begins to scroll. */
function grow(box: HTMLTextAreaElement | null): void {
  if (box === null) return;
  box.style.height = "auto";
  if (box.scrollHeight > 0) box.style.height = `${box.scrollHeight}px`;
}
