/** The composer: writes new messages, replies and edits, and keeps its text until it can be sent. */

import type { JSX } from "preact";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { errorText, strings } from "../../i18n/strings";
import { isOwn, messageBySeq, type State } from "../../model/state";
import type { Attachment } from "../../protocol/attachments";
import type { Message } from "../../protocol/entries";
import { codePoints } from "../../protocol/folding";
import type { Room } from "../../room/room";
import { isFormatted } from "../../worker/tokenize";
import { summary } from "../attachments/names";
import { AttachButton, UploadList } from "../attachments/upload-list";
import { useFileDrop } from "../attachments/use-file-drop";
import { useUploads } from "../attachments/use-uploads";
import { IconButton } from "../shared/icon-button";
import { CheckIcon, CloseIcon, SendIcon, TextIcon } from "../shared/icons";
import { loadDraft, saveDraft } from "../shared/storage";
import { MAX_QUOTE_CHARACTERS, toWellFormed, truncate } from "../shared/text";
import { useAutoHeight } from "./auto-height";
import { CommandHint, UnknownCommand } from "./command-notices";
import { commandName, offeredCommands } from "./commands";
import { useCompletion } from "./completion";
import { CompletionList } from "./completion-list";
import { useRestoredDraft, type RestoredDraft } from "./restored-draft";
import { useSentElsewhere } from "./sent-elsewhere";
import { useUniqueId } from "../shared/hooks";

export type ComposerMode =
  | { readonly kind: "new" }
  | { readonly kind: "reply"; readonly to: Message }
  | { readonly kind: "edit"; readonly message: Message };

export const NEW_MESSAGE: ComposerMode = { kind: "new" };

/** From this fraction of the limit on, the characters are counted. */
const COUNTED_FROM = 0.9;

interface Props {
  readonly room: Room;
  readonly state: State;
  readonly mode: ComposerMode;
  readonly onMode: (mode: ComposerMode) => void;
  /** Returns false if the reader has no name yet, and asks for it. */
  readonly requireName: () => boolean;
}

export function Composer({ room, state, mode, onMode, requireName }: Props): JSX.Element {
  const box = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useState(() => loadDraft(state.room));
  const [problem, setProblem] = useState("");
  /** The text is a command that was not sent, because no member offers it. */
  const [refused, setRefused] = useState(false);
  const [plain, setPlain] = useState(false);
  const draftBeforeEdit = useRef("");
  const restored = useRestoredDraft(state, text, mode.kind === "new", setText);
  const editing = mode.kind === "edit";
  const commands = editing ? [] : offeredCommands(state, strings.helpCommand);
  const completion = useCompletion(box, state, commands, setText);
  const commandId = useUniqueId();
  const errorId = useUniqueId();
  const countId = useUniqueId();
  const name = editing ? null : commandName(text);
  const command = commands.find((each) => each.name === name);
  const uploads = useUploads(room, state.room, state.limits.part ?? 0);
  useFileDrop(box, uploads, () => box.current?.focus());
  useAutoHeight(box, text);
  // A layout effect: the page may be left before the next frame.
  useLayoutEffect(() => {
    if (!editing) saveDraft(state.room, text);
  }, [text, mode, state.room]);
  // A layout effect, so that the next key already goes into the box.
  useLayoutEffect(() => {
    if (mode.kind === "edit") {
      draftBeforeEdit.current = text;
      setText(mode.message.text);
    }
    if (mode.kind !== "new") box.current?.focus();
  }, [mode]);

  useSentElsewhere(state, ({ text: sent, parts = [] }) => {
    if (editing || sent !== text || !isSameList(parts, uploads.attachments)) return;
    setText("");
    uploads.clear();
  });
  const target = mode.kind === "new" ? undefined : mode.kind === "edit" ? mode.message : mode.to;
  const deleted = target !== undefined && messageBySeq(state.messages, target.seq)?.deleted === true;
  useLayoutEffect(() => {
    if (!deleted) return;
    if (mode.kind === "edit") {
      const changed = text !== mode.message.text;
      setText([draftBeforeEdit.current, changed ? text : ""].filter(Boolean).join("\n"));
      setProblem(changed ? strings.editedDeleted : "");
    }
    onMode(NEW_MESSAGE);
  }, [deleted]);

  /** Only then is there a choice. */
  const formatted = useMemo(() => !editing && isFormatted(text), [editing, text]);

  const length = codePoints(text);
  const excess = length - state.limits.text;
  const counted = excess <= 0 && length >= COUNTED_FROM * state.limits.text;
  const leaveMode = (): void => {
    setText(editing ? draftBeforeEdit.current : text);
    onMode(NEW_MESSAGE);
  };
  const attachments = editing ? [] : uploads.attachments;
  const empty = text.trim() === "" && attachments.length === 0;
  const submit = (asText = false): void => {
    if (!editing && uploads.busy) return setProblem(strings.uploadPending);
    if (!editing && uploads.failed) return setProblem(strings.uploadUnresolved);
    if (empty || excess > 0 || !requireName()) return;
    if (name !== null && command === undefined && !asText) return setRefused(true);
    if (!sendInMode(room, mode, text.trim() === "" ? "" : toWellFormed(text), attachments, restored.current, formatted && plain)) {
      return setProblem(strings.notSent);
    }
    if (!editing) uploads.clear();
    setProblem("");
    setRefused(false);
    setPlain(false);
    setText(editing ? draftBeforeEdit.current : "");
    onMode(NEW_MESSAGE);
  };
  const handleKey = (event: KeyboardEvent): void => {
    // 229 means that the input method uses the key: Safari ends a composition before its Enter.
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- no other field says it there
    if (event.isComposing || event.keyCode === 229) return;
    if (completion.handleKey(event)) return event.preventDefault();
    if (event.key === "Enter" && !event.shiftKey && !hasTouchKeyboard()) {
      event.preventDefault();
      submit();
    } else if (event.key === "Escape" && mode.kind !== "new") {
      leaveMode();
    } else if (event.key === "ArrowUp" && text === "" && mode.kind === "new") {
      const message = lastEditableMessage(state);
      if (message === undefined) return;
      event.preventDefault();
      onMode({ kind: "edit", message });
    }
  };
  const hint = completion.suggestions.length === 0 ? command : undefined;
  const tooLong = excess > 0 ? strings.tooLong(excess, state.limits.text) : "";
  const error = tooLong || problem || (state.notice && errorText(state.notice));
  return (
    <form
      class="bq-composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
        box.current?.focus();
      }}
    >
      {error && (
        <p class="bq-error" role="alert" dir="auto" id={errorId}>
          {error}
        </p>
      )}
      {counted && (
        <p class="bq-command" id={countId}>
          {strings.countedCharacters(length, state.limits.text)}
        </p>
      )}
      {refused && name !== null && command === undefined && (
        <UnknownCommand
          name={name}
          onSend={() => {
            submit(true);
            box.current?.focus();
          }}
        />
      )}
      {mode.kind !== "new" && (
        <div class="bq-mode">
          <span dir="auto">{mode.kind === "edit" ? strings.editing : strings.replyingTo(mode.to.user)}</span>
          {mode.kind === "reply" && <q dir="auto">{truncate(summary(mode.to), MAX_QUOTE_CHARACTERS)}</q>}
          <IconButton label={strings.cancel} onClick={leaveMode}>
            <CloseIcon />
          </IconButton>
        </div>
      )}
      {!editing && <UploadList uploads={uploads} />}
      <CompletionList completion={completion} />
      {hint !== undefined && <CommandHint command={hint} id={commandId} />}
      <div class="bq-box">
        {!editing && (state.limits.part ?? 0) > 0 && <AttachButton uploads={uploads} />}
        <textarea
          ref={box}
          rows={1}
          dir="auto"
          aria-label={strings.message}
          placeholder={strings.placeholder(state.room)}
          enterkeyhint={hasTouchKeyboard() ? "enter" : "send"}
          aria-autocomplete="list"
          aria-invalid={error ? true : undefined}
          aria-describedby={[error && errorId, counted && countId, hint && commandId].filter(Boolean).join(" ") || undefined}
          {...(completion.suggestions.length > 0 && {
            "aria-haspopup": "listbox" as const,
            "aria-controls": completion.id,
            "aria-activedescendant": `${completion.id}-${completion.selected}`,
          })}
          value={text}
          onKeyDown={handleKey}
          onSelect={completion.update}
          onBlur={completion.close}
          onPaste={(event) => {
            const { files, types } = event.clipboardData ?? { files: [], types: [] as readonly string[] };
            // The cells of a spreadsheet come with text and an image: the text is meant.
            if (editing || types.includes("text/plain") || !uploads.add(files)) return;
            event.preventDefault();
          }}
          onInput={(event) => {
            setText(event.currentTarget.value);
            completion.update();
            setProblem("");
            setRefused(false);
            if (state.notice !== null) room.dismissNotice();
            if (!editing) room.typing();
          }}
        />
        {formatted && (
          <IconButton
            class="bq-plain"
            label={strings.plainText}
            aria-pressed={plain}
            onClick={() => {
              setPlain(!plain);
              box.current?.focus();
            }}
          >
            <TextIcon />
          </IconButton>
        )}
        <IconButton
          type="submit"
          class="bq-send"
          label={editing ? strings.save : strings.send}
          aria-disabled={empty || excess > 0}
        >
          {editing ? <CheckIcon /> : <SendIcon />}
        </IconButton>
      </div>
    </form>
  );
}

/** A phone's keyboard has no Shift+Enter: there Enter begins a line, and the button sends. */
const hasTouchKeyboard = (): boolean => matchMedia("(pointer: coarse)").matches;

/** The reader's newest message that ArrowUp edits; answers to questions with choices cannot be edited. */
function lastEditableMessage(state: State): Message | undefined {
  const { messages } = state;
  for (let index = messages.length - 1; index >= 0; index -= 1) {
    const message = messages[index]!;
    const editable = !message.deleted && message.text !== "" && message.choice === undefined;
    if (editable && isOwn(state, message)) return message;
  }
  return undefined;
}

function sendInMode(
  room: Room,
  mode: ComposerMode,
  text: string,
  attachments: readonly Attachment[],
  restored: RestoredDraft | null,
  plain: boolean,
): boolean {
  if (mode.kind === "edit") return mode.message.text === text || room.edit(mode.message, text);
  if (mode.kind === "reply") return room.send(text, mode.to, attachments, plain);
  // The restored text unchanged is the same message: a retry under its cid cannot duplicate it.
  if (!plain && restored?.text === text && attachments.length === 0) return room.retry(restored.cid);
  return room.send(text, undefined, attachments, plain);
}

const isSameList = (a: readonly Attachment[], b: readonly Attachment[]): boolean =>
  a.length === b.length && a.every(({ sha256 }, index) => sha256 === b[index]?.sha256);
