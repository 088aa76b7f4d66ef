/** The list of messages: a window of rows onto it, scrolled without ever yanking what is being read. */

import { Component, createRef, type JSX } from "preact";
import type { Room } from "../../room/room";
import type { State } from "../../model/state";
import type { Deeds } from "./message-actions";
import { DownIcon, SpeechIcon } from "../shared/icons";
import { Item, PendingItem } from "./message-item";
import { rowsOf } from "./rows";
import { Scroller } from "./scroller";
import { extendedDown, extendedUp, FOLLOW, held, isFlood, rangeOf, ROWS, rowsIn, type Window } from "./row-window";
import { words } from "../../i18n/strings";

/** Pixels from either end at which more rows are put in. */
const NEAR = 600;
/** Milliseconds without news after which a flood is over. */
const CALM_MS = 120;

interface Props {
  readonly room: Room;
  readonly state: State;
  readonly deeds: Deeds;
}

interface Local {
  readonly window: Window;
  readonly following: boolean;
  /** The newest message that was drawn. */
  readonly newest: number | null;
  readonly calm: boolean;
  /** The row that is pointed at or has the focus. */
  readonly active: number | null;
}

export class MessageList extends Component<Props, Local> {
  override state: Local = { window: FOLLOW, following: true, newest: null, calm: true, active: null };
  readonly #element = createRef<HTMLDivElement>();
  readonly #list = createRef<HTMLOListElement>();
  #scroller: Scroller | null = null;
  readonly #ended = new AbortController();

  static override getDerivedStateFromProps({ state: { messages } }: Props, { newest, calm }: Local): Partial<Local> {
    return { newest: messages.at(-1)?.seq ?? null, calm: calm && !isFlood(messages, newest) };
  }

  override componentDidMount(): void {
    const element = this.#element.current!;
    this.#scroller = new Scroller(element);
    this.#scroller.settle();
    const sizes = new ResizeObserver(() => this.settle());
    sizes.observe(element);
    sizes.observe(this.#list.current!);
    this.#atEnd = this.#reachesEnd();
    const seen = new IntersectionObserver((entries) => {
      this.#inView = entries.at(-1)?.isIntersecting ?? false;
      this.#look();
    });
    seen.observe(element);
    this.#ended.signal.addEventListener("abort", () => {
      sizes.disconnect();
      seen.disconnect();
    });
    document.addEventListener("visibilitychange", this.#look, { signal: this.#ended.signal });
    element.addEventListener("scroll", this.#scrolled, { passive: true, signal: this.#ended.signal });
  }

  override componentWillUnmount(): void {
    this.#ended.abort();
    clearTimeout(this.#calming);
    this.props.room.look(this, false);
  }

  /** The reader may have scrolled since the last event: their move counts before the rows change. */
  override getSnapshotBeforeUpdate(): null {
    this.#scroller?.moved(this.#atEnd);
    return null;
  }

  override componentDidUpdate(before: Props): void {
    const { state } = this.props;
    const emptied = state.messages.length === 0 && before.state.messages.length > 0;
    if (before.state.epoch !== state.epoch || emptied) return this.jump();
    const mine = state.pending.length > before.state.pending.length && state.pending.at(-1)?.draft.type === "chat.send";
    if (mine) return this.jump();
    this.settle();
    this.#extend();
    if (before.state.messages !== state.messages && !this.state.calm) {
      clearTimeout(this.#calming);
      this.#calming = setTimeout(() => this.setState({ calm: true }), CALM_MS);
    }
  }

  /** To the newest message, and on with it. */
  readonly jump = (): void => {
    if (this.state.window !== FOLLOW || !this.state.following) this.setState({ window: FOLLOW, following: true });
    this.#scroller?.follow();
    this.#look();
  };

  settle(): void {
    this.#atEnd = this.#reachesEnd();
    this.#scroller?.settle();
  }

  #reachesEnd(): boolean {
    const { messages } = this.props.state;
    return rangeOf(this.state.window, messages).end === messages.length;
  }

  #inView = true;
  #calming: ReturnType<typeof setTimeout> | undefined;
  /** The last row in the DOM is the newest message. */
  #atEnd = true;

  readonly #look = (): void => {
    const visible = document.visibilityState === "visible" && this.#inView;
    this.props.room.look(this, visible && (this.#scroller?.following ?? false));
  };

  readonly #scrolled = (): void => {
    const scroller = this.#scroller;
    if (scroller === null) return;
    const { messages } = this.props.state;
    const { window, following } = this.state;
    if (!scroller.moved(this.#atEnd)) return;
    if (scroller.following !== following) {
      const next = scroller.following ? FOLLOW : held(window, messages);
      this.setState({ following: scroller.following, window: next });
      this.#look();
    }
    this.#extend();
  };

  /** Puts in more rows where one nears an end of the window, and asks for history at the list's own. */
  #extend(): void {
    const scroller = this.#scroller;
    const { messages, complete, loaded, request } = this.props.state;
    const { window, following } = this.state;
    if (!scroller?.visible) return;
    const { start, end } = rangeOf(window, messages);
    if (scroller.fromTop < NEAR && start > 0 && !following) {
      this.setState({ window: extendedUp(window, messages) });
    } else if (scroller.fromEnd < NEAR && end < messages.length) {
      this.setState({ window: extendedDown(window, messages) });
    } else if (scroller.fromTop < NEAR && start === 0 && loaded && !complete && request === null) {
      if (!following || scroller.fromTop === 0) this.props.room.older();
    }
  }

  readonly #point = (event: Event): void => {
    const row = (event.target as Element).closest<HTMLElement>("[data-seq]");
    const active = row === null ? null : Number(row.dataset.seq);
    if (active !== this.state.active) this.setState({ active });
  };

  /** Arrow keys walk through the messages; Escape goes back to the box. */
  readonly #walk = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    if (target !== this.#element.current && !target.matches("[data-row]")) return;
    const rows = [...(this.#list.current?.querySelectorAll<HTMLElement>("[data-seq]") ?? [])];
    const index = rows.indexOf(target);
    const next = { ArrowUp: index < 0 ? rows.length - 1 : index - 1, ArrowDown: index + 1, Home: 0, End: rows.length - 1 }[
      event.key
    ];
    if (next === undefined || rows[next] === undefined) return;
    event.preventDefault();
    rows[next].focus();
  };

  render({ room, state, deeds }: Props, { window, active, following, calm }: Local): JSX.Element {
    const { messages, pending, complete, loaded, unread, user, principal } = state;
    const { start, end } = rangeOf(window, messages, calm ? ROWS : rowsIn(this.#element.current?.clientHeight ?? 0));
    const atEnd = end === messages.length;
    const rows = rowsOf(state, start, end, Date.now());
    const shown = pending.filter(({ draft, state: word }) => draft.type === "chat.send" || word === "failed");
    const answered = new Set(pending.map(({ draft, state: word }) => word === "sending" && "re" in draft && draft.re));
    return (
      <div class="bq-messages">
        <div
          class="bq-scroll"
          ref={this.#element}
          tabIndex={0}
          onKeyDown={this.#walk}
          onMouseOver={this.#point}
          onMouseLeave={() => this.setState({ active: null })}
          onFocusIn={this.#point}
        >
          <div class="bq-top">
            {start === 0 && complete && messages.length > 0 && <p>{words.start(state.room)}</p>}
            {start === 0 && !complete && loaded && messages.length > 0 && <p>{words.earlier}</p>}
            {loaded && messages.length === 0 && shown.length === 0 && (
              <p class="bq-empty">
                <SpeechIcon />
                {words.empty}
              </p>
            )}
          </div>
          <ol class="bq-list" ref={this.#list} aria-label={words.messages}>
            {rows.map((row) => (
              <Item
                key={row.message.seq}
                {...row}
                user={principal ?? user}
                active={active === row.message.seq}
                answering={answered.has(row.message.seq)}
                deeds={deeds}
              />
            ))}
            {atEnd &&
              shown.map((each, index) => (
                <PendingItem
                  key={each.cid}
                  pending={each}
                  first={index === 0 && !rows.at(-1)?.own}
                  onRetry={(cid) => room.retry(cid)}
                  onDiscard={(cid) => room.discard(cid)}
                />
              ))}
          </ol>
        </div>
        {!following && (
          <button type="button" class="bq-jump" onClick={this.jump}>
            <DownIcon />
            {words.jump}
            {unread.count > 0 && (
              <span class="bq-count" aria-hidden="true">
                {unread.count > 99 ? "99+" : unread.count}
              </span>
            )}
          </button>
        )}
      </div>
    );
  }
}
