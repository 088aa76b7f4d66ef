/** The list is the tail of the log, even if the network loses, duplicates, delays or reorders frames.
 *
 * A random server (messages, changes, pieces of live messages, restores with a new epoch) talks to `reduce` over a random network. Pages are
 * read some time after the request, and arrive some time after that. At the end everything that is on its way
 * arrives, `synced` is repeated as an idle server does, and the list must equal the log.
 */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { reduce } from "../../src/model/reducer";
import { initialState, type Effect, type Input, type State } from "../../src/model/state";
import type { Message } from "../../src/protocol/entries";
import { codePoints } from "../../src/protocol/folding";
import type { ServerFrame } from "../../src/protocol/server-frames";
import { FakeLog } from "../support/fake-log";

type Step =
  | { do: "say"; step: number; asks: boolean; re: number | null }
  | { do: "change"; kind: "edit" | "delete" | "react" | "pin" | "expire"; target: number }
  | { do: "open" | "save" | "step" | "end"; target: number }
  | { do: "write"; target: number; text: string; replace: number | null }
  | { do: "deliver" | "lose" | "double" | "swap" | "answer" | "read" | "fail" | "older" | "idle" | "reconnect" | "restore" };

const step = (name: Step["do"]): fc.Arbitrary<Step> => fc.constant({ do: name } as Step);
const steps = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        do: fc.constant("say" as const),
        step: fc.integer({ min: 1, max: 3 }),
        asks: fc.boolean(),
        re: fc.option(fc.nat(30)),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant("change" as const),
        kind: fc.constantFrom("edit" as const, "delete" as const, "react" as const, "pin" as const, "expire" as const),
        target: fc.nat(30),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constantFrom("open" as const, "save" as const, "save" as const, "step" as const, "end" as const),
        target: fc.nat(3),
      }),
    },
    {
      weight: 10,
      arbitrary: fc.record({
        do: fc.constant("write" as const),
        target: fc.nat(3),
        text: fc.string({ unit: fc.constantFrom("a", "b", "🙂", "\n", "e\u0301"), minLength: 1, maxLength: 5 }),
        replace: fc.oneof({ weight: 20, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.nat(20) }),
      }),
    },
    { weight: 20, arbitrary: step("deliver") },
    ...(["lose", "double", "swap", "answer", "read", "fail", "older", "idle", "reconnect"] as const).map((name) => ({
      weight: 2,
      arbitrary: step(name),
    })),
    { weight: 1, arbitrary: step("restore") },
  ),
  { minLength: 1, maxLength: 120, size: "max" },
);

/** A client, its server, and the network between them. */
class World {
  readonly log = new FakeLog();
  state: State = initialState("lobby", "me");
  #wire: ServerFrame[] = [];
  /** The requested pages that the server has not read yet, and the read ones that have not arrived yet. */
  #requested: Effect[] = [];
  #unarrived: Input[] = [];
  #texts = 0;
  /** The messages of which text was replaced: a client may have another text until their end. */
  readonly replaced = new Set<number>();

  constructor(history: number) {
    for (let index = 0; index < history; index += 1) this.log.append("ada", `old ${index}`);
    this.#join();
  }

  run(step: Step): void {
    switch (step.do) {
      case "say": {
        const re = step.re === null ? undefined : this.log.entries.at(-1 - step.re)?.seq;
        const extra = { ...(step.asks ? { ask: {} } : {}), ...(re === undefined ? {} : { re }) };
        return this.#broadcast(this.log.append("ada", `text ${this.#texts++}`, step.step, extra));
      }
      case "change": {
        const target = this.log.entries.at(-1 - step.target)?.seq;
        if (target === undefined || (step.kind === "edit" && this.log.get(target)?.live)) return;
        const reaction = { emoji: "👍", on: this.#texts++ % 3 > 0 };
        const fields = { edit: { text: `edit ${this.#texts}` }, react: reaction, pin: { ...reaction, pin: true }, delete: {}, expire: {} };
        const kind = step.kind === "pin" ? "react" : step.kind;
        return this.#broadcast(this.log.change({ kind, target, ...fields[step.kind] }));
      }
      case "open":
        return this.#broadcast(this.log.append("bot", "", 1, { live: true }));
      case "write": {
        const message = this.#live(step.target);
        if (message === undefined) return;
        if (step.replace === null) return void this.#wire.push(this.log.write(message.seq, step.text));
        this.replaced.add(message.seq);
        const offset = Math.min(step.replace, codePoints(message.text));
        return void this.#wire.push(this.log.write(message.seq, step.text, { offset }));
      }
      case "save": {
        const message = this.#live(step.target);
        if (message !== undefined) for (const change of this.log.save(message.seq)) this.#broadcast(change);
        return;
      }
      case "step": {
        const message = this.#live(step.target);
        const id = `${this.#texts++ % 3}`;
        const target = message?.seq;
        if (target !== undefined) this.#broadcast(this.log.change({ kind: "step", target, id, title: id, state: "done" }));
        return;
      }
      case "end": {
        const message = this.#live(step.target);
        if (message !== undefined) this.#end(message);
        return;
      }
      case "deliver": {
        const frame = this.#wire.shift();
        if (frame !== undefined) this.#take([frame]);
        return;
      }
      case "lose":
        this.#wire.shift();
        return;
      case "double":
        if (this.#wire[0] !== undefined) this.#wire.push(this.#wire[0]);
        return;
      case "swap":
        this.#wire.push(...this.#wire.splice(0, 1));
        return;
      case "read":
        return this.#read();
      case "answer": {
        const input = this.#unarrived.shift();
        if (input !== undefined) this.#take([input]);
        return;
      }
      case "fail": {
        const effect = this.#requested.shift();
        if (effect?.do === "page" || effect?.do === "log") {
          this.#take([{ type: "page-failed", id: effect.id, permanent: effect.do === "log" && this.#texts % 2 === 0, message: "x" }]);
        }
        return;
      }
      case "older":
        return this.#take([{ type: "older", view: {} }]);
      case "idle":
        this.#wire.push({ type: "synced", seq: this.log.last });
        return;
      case "reconnect":
        this.#wire = [];
        return this.#join();
      case "restore":
        this.log.restore();
        this.#wire = [];
        return this.#join();
    }
  }

  /** The network recovers: everything arrives, with `synced`, until nothing more happens. */
  heal(): void {
    for (const message of this.log.folded().filter(({ live }) => live)) {
      if (this.replaced.has(message.seq)) this.#end(message);
      else for (const change of this.log.save(message.seq)) this.#broadcast(change);
    }
    for (let round = 0; round < 200; round += 1) {
      this.#wire.push({ type: "synced", seq: this.log.last });
      this.#take(this.#wire.splice(0));
      while (this.#requested.length > 0) this.#read();
      this.#take(this.#unarrived.splice(0));
      const idle = this.#wire.length + this.#requested.length + this.#unarrived.length === 0;
      if (idle && this.state.pins.request === null && this.state.lastSeq === this.log.last && this.state.loaded && this.state.request === null) return;
    }
    throw new Error(`never idle: ${JSON.stringify({ ...this.state, messages: this.state.messages.length })}`);
  }

  #join(): void {
    const { lastSeq, epoch } = this.state;
    const resuming = epoch !== null;
    // The hello is the first frame of a connection.
    this.#take([this.log.hello(resuming)]);
    if (resuming) this.#wire.push(...this.log.replay(lastSeq, epoch));
    else this.#wire.push({ type: "synced", seq: this.log.last });
    this.#wire.push(...this.log.tails);
  }

  /** The present connection was sent all pieces of the live messages, so an append repeats none of them. */
  #broadcast(entry: Parameters<FakeLog["frame"]>[0]): void {
    this.#wire.push(this.log.shortFrame(entry));
  }

  #live(index: number): Message | undefined {
    return this.log.folded().filter(({ live }) => live).at(-1 - index);
  }

  /** The last text of what was replaced is sent whole, so that all clients have the same. */
  #end({ seq: target, text }: Message): void {
    for (const change of this.log.save(target)) this.#broadcast(change);
    const whole = this.replaced.has(target) ? { text } : {};
    this.#broadcast(this.log.change({ kind: "end", target, end: "done", ...whole }));
  }

  #read(): void {
    const effect = this.#requested.shift();
    const answer = effect === undefined ? null : this.log.answer(effect);
    if (answer !== null) this.#unarrived.push(answer);
  }

  #take(inputs: readonly Input[]): void {
    const [state, effects] = reduce(this.state, inputs);
    this.state = state;
    for (const effect of effects) {
      if (effect.do === "resume") this.#wire.push(...this.log.replay(effect.after, effect.epoch));
      else if (effect.do !== "send") this.#requested.push(effect);
    }
  }
}

/** A live message never shows what its author did not write, not even for a moment. */
function expectBeginnings({ state, log, replaced }: World): void {
  const texts = new Map(log.folded().map(({ seq, live, text }) => [seq, live ? text : null]));
  for (const { seq, live, text } of state.messages) {
    const written = texts.get(seq);
    if (live && written != null && !replaced.has(seq)) expect(written.startsWith(text)).toBe(true);
  }
}

describe("the list is the log's tail", () => {
  it("after any loss, duplication, reordering, reconnect and restore", () => {
    fc.assert(
      fc.property(fc.nat(120), steps, (history, plan) => {
        const world = new World(history);
        for (const step of plan) {
          world.run(step);
          const seqs = world.state.messages.map(({ seq }) => seq);
          expect(seqs).toEqual([...new Set(seqs)].sort((a, b) => a - b));
          expect(seqs.every((seq) => seq <= world.state.lastSeq)).toBe(true);
          expectBeginnings(world);
        }
        world.heal();
        const { messages, complete } = world.state;
        const all = world.log.folded();
        const first = messages[0]?.seq ?? Infinity;
        expect(messages).toEqual(all.filter(({ seq }) => seq >= first));
        const pinned = all.filter((message) => message.pinned !== undefined).sort((a, b) => a.pinned! - b.pinned!);
        const shown = ({ seq, text, pinned }: Message): unknown[] => [seq, text, pinned];
        expect(world.state.pins.messages.map(shown)).toEqual(pinned.slice(-50).map(shown));
        if (complete) expect(messages).toEqual(all);
        else expect(messages.length).toBeGreaterThan(0);
      }),
      { numRuns: Number(process.env.BQWIDGET_RUNS ?? 400) },
    );
  });

  it("and paging to the beginning loads every message", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 300 }), steps, (history, plan) => {
        const world = new World(history);
        for (const step of plan) world.run(step);
        world.heal();
        for (let page = 0; page < 40 && !world.state.complete; page += 1) {
          world.run({ do: "older" });
          world.heal();
        }
        expect(world.state.messages).toEqual(world.log.folded());
      }),
      { numRuns: 100 },
    );
  });
});
