/** Scrolling that never yanks: either the newest message stays in view, or the one being read stays put.
 *
 * After every change of the rows or of the size, `settle` puts the scroller back on its bottom or its
 * anchor. The browser's own scroll anchoring is off: it differs between browsers and loses track of
 * rows that are taken out.
 */

/** Pixels from the end that still count as the end: browsers round, people stop a little short. */
const AT_END = 24;

export class Scroller {
  /** At the newest message, and staying there. */
  following = true;
  readonly #element: HTMLElement;
  #anchor: { readonly words: HTMLElement; readonly offset: number } | null = null;
  #top = 0;
  #height = 0;

  constructor(element: HTMLElement) {
    this.#element = element;
  }

  get fromTop(): number {
    return this.#element.scrollTop;
  }

  get fromEnd(): number {
    const { scrollHeight, scrollTop, clientHeight } = this.#element;
    return scrollHeight - scrollTop - clientHeight;
  }

  get visible(): boolean {
    return this.#element.clientHeight > 0;
  }

  /** The reader moved. `end`: the last row is the newest message. False where it was not the reader. */
  moved(end: boolean): boolean {
    const { scrollTop, clientHeight } = this.#element;
    // Hidden, or shown again at another size: the browser moved it, and `settle` is about to follow.
    if (clientHeight === 0 || clientHeight !== this.#height) return false;
    if (end && this.fromEnd <= AT_END) this.following = true;
    else if (scrollTop < this.#top - 1 || !end) this.following = false;
    // Where it didn't move, the anchor stands as it was kept, and `settle` brings the rows back to it.
    if (Math.abs(scrollTop - this.#top) >= 0.5) this.#keep();
    return true;
  }

  follow(): void {
    this.following = true;
    this.settle();
  }

  settle(): void {
    const element = this.#element;
    if (element.clientHeight === 0) return;
    if (this.following) {
      element.scrollTop = element.scrollHeight;
    } else if (this.#anchor?.words.isConnected) {
      const { words, offset } = this.#anchor;
      const moved = this.#offset(words) - offset;
      if (Math.abs(moved) >= 0.5) element.scrollTop += moved;
      // At the very top there is nothing to scroll by, until the rows that come next make room: it stays wanted there.
      if (Math.abs(this.#offset(words) - offset) >= 1) return this.#stand();
    }
    this.#keep();
  }

  #stand(): void {
    this.#top = this.#element.scrollTop;
    this.#height = this.#element.clientHeight;
  }

  /** Remembers the words of the first row that is in view, and where. */
  #keep(): void {
    this.#stand();
    const rows = this.#element.querySelectorAll<HTMLElement>("[data-row]");
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const row = rows[middle]!;
      if (this.#offset(row) + row.offsetHeight <= 0) low = middle + 1;
      else high = middle;
    }
    const row = rows[low];
    // What is read is the bubble: the day or the name above it may come and go with the row before.
    const words = row?.querySelector<HTMLElement>(".bq-bubble") ?? row;
    this.#anchor = words === undefined ? null : { words, offset: this.#offset(words) };
  }

  #offset(row: HTMLElement): number {
    return row.getBoundingClientRect().top - this.#element.getBoundingClientRect().top;
  }
}
