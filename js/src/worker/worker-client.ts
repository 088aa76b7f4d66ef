/** Gets a job done off the main thread: in a worker made from this very bundle, else in slices when the page is idle.
 *
 * The worker comes when it is first needed and goes when it has had nothing to do for a while. It works on one
 * job at a time, and one that takes too long is given up with it: hostile text costs nobody more than that.
 */

import source from "worker:source";
import { parse } from "./tokenize";
import type { Answer, Job, Program } from "./jobs";

/** Milliseconds that a job may take; then its text is shown as it is. */
const PATIENCE = 5_000;
const IDLE = 30_000;
/** Answers kept, so that a row scrolled back into view is drawn at once as it was. */
const MOST_KEPT = 300;
/** Characters of code that the main thread colours where it has to. */
const MOST_ON_MAIN = 4_000;

interface Waiting {
  readonly job: Job;
  readonly signal: AbortSignal;
  readonly answer: (answer: Answer) => void;
}

export class Offload {
  readonly #source: string;
  readonly #kept = new Map<string, Answer>();
  readonly #queue: Waiting[] = [];
  #busy = false;
  #worker: Worker | null = null;
  #possible: boolean;
  #url: string | undefined;
  #idle: ReturnType<typeof setTimeout> | undefined;

  constructor(program: string) {
    this.#source = program;
    this.#possible = program !== "" && typeof Worker === "function";
  }

  /** The answer, where it was worked out before. */
  known<J extends Job>(job: J): Answer<J> | undefined {
    return this.#kept.get(keyOf(job)) as Answer<J> | undefined;
  }

  /** `done` is called once, unless `signal` came first: then nobody works on it. */
  ask(job: Job, signal: AbortSignal, done: () => void): void {
    const answer = (given: Answer): void => {
      this.#keep(job, given);
      if (!signal.aborted) done();
    };
    this.#queue.push({ job, signal, answer });
    if (!this.#busy) void this.#run();
  }

  async #run(): Promise<void> {
    this.#busy = true;
    clearTimeout(this.#idle);
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      if (next.signal.aborted) continue;
      next.answer(this.known(next.job) ?? (await this.#work(next.job)));
    }
    this.#busy = false;
    this.#idle = setTimeout(() => this.#dismiss(), IDLE);
  }

  async #work(job: Job): Promise<Answer> {
    while (this.#possible) {
      const answer = await this.#inWorker(job);
      if (answer !== undefined) return answer;
    }
    await idle();
    if (job.do === "parse") return parse(job.text);
    return job.text.length > MOST_ON_MAIN ? null : this.#onMain(job);
  }

  /** Undefined where there can be no worker here. */
  #inWorker(job: Job): Promise<Answer | undefined> {
    return new Promise((resolve) => {
      const end = (answer: Answer | undefined): void => {
        clearTimeout(timer);
        resolve(answer);
      };
      const timer = setTimeout(() => {
        this.#dismiss();
        end(null);
      }, PATIENCE);
      try {
        this.#worker ??= new Worker(trusted(this.#address()) as string, { type: "module" });
        this.#worker.onmessage = ({ data }: MessageEvent<Answer>) => end(data);
        this.#worker.onerror = () => {
          this.#possible = false;
          this.#dismiss();
          end(undefined);
        };
        this.#worker.postMessage(job);
      } catch {
        this.#possible = false;
        end(undefined);
      }
    });
  }

  async #onMain(job: Job): Promise<Answer> {
    try {
      return ((await import(/* @vite-ignore */ this.#address())) as Program).work(job);
    } catch {
      return null; // a policy that forbids this too
    }
  }

  #address(): string {
    this.#url ??= URL.createObjectURL(new Blob([this.#source], { type: "text/javascript" }));
    return this.#url;
  }

  #dismiss(): void {
    this.#worker?.terminate();
    this.#worker = null;
  }

  #keep(job: Job, answer: Answer): void {
    this.#kept.set(keyOf(job), answer);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MOST_KEPT && oldest !== undefined) this.#kept.delete(oldest);
  }
}

export const offload = new Offload(source);

const keyOf = (job: Job): string => (job.do === "parse" ? `parse ${job.text}` : `${job.language} ${job.text}`);

const idle = (): Promise<void> =>
  new Promise((resolve) => {
    if (typeof requestIdleCallback === "function") requestIdleCallback(() => resolve());
    else setTimeout(resolve);
  });

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL: (url: string) => string }): {
    createScriptURL: (url: string) => unknown;
  };
}

/** Where a page lets no string become a script's address, a policy of ours vouches for this one, and no other. */
function trusted(url: string): unknown {
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
  if (trustedTypes === undefined) return url;
  const only = (asked: string): string => {
    if (asked !== url) throw new TypeError(`no script of ours: ${asked}`);
    return asked;
  };
  return trustedTypes.createPolicy("bqwidget", { createScriptURL: only }).createScriptURL(url);
}
