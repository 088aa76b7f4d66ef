/** Runs jobs off the main thread: in a worker made from a program, otherwise on the main thread when it is idle.
 *
 * The worker starts with the first job and ends after an idle time. It runs one job at a time; a job that takes too
 * long is ended together with the worker, so that hostile text costs no more than that.
 */

import { STARTED, type Job, type JobResult, type WorkerModule } from "./jobs";
import { tokenize } from "./tokenize";

/** A job that takes longer has the result null. Ticks are counted, because a page that was busy, or a computer that was
 * asleep, has not read the result yet.
 */
export const MAX_JOB_TICKS = 5;
export const TICK_MS = 1_000;
const IDLE_TIMEOUT_MS = 30_000;
/** So that a row that is scrolled back into view is rendered at once. */
const MAX_CACHED_RESULTS = 300;
/** Until a program that could not be loaded is asked for again. */
const RELOAD_INTERVAL_MS = 5_000;
/** Longer code is not highlighted without a worker. */
const MAX_MAIN_THREAD_CHARACTERS = 4_000;

interface QueuedJob {
  readonly job: Job;
  readonly signal: AbortSignal;
  readonly resolve: (result: JobResult) => void;
}

export class WorkerClient {
  readonly #program: string | (() => Promise<string>);
  readonly #cache = new Map<string, JobResult>();
  readonly #queue: QueuedJob[] = [];
  #busy = false;
  #worker: Worker | null = null;
  #started = false;
  #workerAvailable: boolean;
  #url = "";
  #idleTimer: ReturnType<typeof setTimeout> | undefined;

  /** `program`: its text, or a function that loads it with the first job, and again after a failure. */
  constructor(program: string | (() => Promise<string>)) {
    this.#program = program;
    this.#workerAvailable = program !== "" && typeof Worker === "function";
  }

  /** The result of a job that ran before. */
  cached<J extends Job>(job: J): JobResult<J> | undefined {
    return this.#cache.get(keyOf(job)) as JobResult<J> | undefined;
  }

  /** Calls `done` once its result is cached, unless `signal` is aborted before; then the job may not run at all. */
  submit(job: Job, signal: AbortSignal, done: () => void): void {
    const resolve = (result: JobResult): void => {
      this.#addToCache(job, result);
      if (!signal.aborted) done();
    };
    this.#queue.push({ job, signal, resolve });
    if (!this.#busy) void this.#run();
  }

  async #run(): Promise<void> {
    this.#busy = true;
    clearTimeout(this.#idleTimer);
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      if (next.signal.aborted) continue;
      const result = this.cached(next.job) ?? (await this.#execute(next.job));
      if (result === undefined) this.#retryLater(next);
      else next.resolve(result);
    }
    this.#busy = false;
    this.#idleTimer = setTimeout(() => this.#terminate(), IDLE_TIMEOUT_MS);
  }

  /** False if the program cannot be loaded now. */
  async #load(): Promise<boolean> {
    if (this.#url !== "") return true;
    try {
      const program = typeof this.#program === "string" ? this.#program : await this.#program();
      this.#url = URL.createObjectURL(new Blob([program], { type: "text/javascript" }));
      return true;
    } catch {
      return false;
    }
  }

  #retryLater(next: QueuedJob): void {
    setTimeout(() => {
      this.#queue.push(next);
      if (!this.#busy) void this.#run();
    }, RELOAD_INTERVAL_MS);
  }

  /** Undefined if the program cannot be loaded now. */
  async #execute(job: Job): Promise<JobResult | undefined> {
    const loaded = (this.#workerAvailable || job.do !== "parse") && (await this.#load());
    while (loaded && this.#workerAvailable) {
      const result = await this.#runInWorker(job);
      if (result !== undefined) return result;
    }
    await whenIdle();
    if (job.do === "parse") return tokenize(job.text);
    if (!loaded) return undefined;
    return job.text.length > MAX_MAIN_THREAD_CHARACTERS ? null : this.#runOnMainThread(job);
  }

  /** Undefined if no worker can be started here. */
  #runInWorker(job: Job): Promise<JobResult | undefined> {
    return new Promise((resolve) => {
      let ticks = 0;
      const end = (result: JobResult | undefined): void => {
        clearInterval(timer);
        resolve(result);
      };
      const timer = setInterval(() => {
        if (!this.#started || ++ticks < MAX_JOB_TICKS) return;
        this.#terminate();
        end(null);
      }, TICK_MS);
      try {
        this.#worker ??= new Worker(trustedScriptUrl(this.#url) as string, { type: "module" });
        this.#worker.onmessage = ({ data }: MessageEvent<unknown>) => {
          this.#started = true;
          if (data !== STARTED) end(data as JobResult);
        };
        this.#worker.onerror = () => {
          this.#workerAvailable = false;
          this.#terminate();
          end(undefined);
        };
        this.#worker.postMessage(job);
      } catch {
        this.#workerAvailable = false;
        end(undefined);
      }
    });
  }

  async #runOnMainThread(job: Job): Promise<JobResult> {
    try {
      return ((await import(/* @vite-ignore */ this.#url)) as WorkerModule).runJob(job);
    } catch {
      return null; // the page's content security policy forbids this too
    }
  }

  #terminate(): void {
    this.#worker?.terminate();
    this.#worker = null;
    this.#started = false;
  }

  #addToCache(job: Job, result: JobResult): void {
    this.#cache.set(keyOf(job), result);
    const [oldest] = this.#cache.keys();
    if (this.#cache.size > MAX_CACHED_RESULTS && oldest !== undefined) this.#cache.delete(oldest);
  }
}

/** A program of `build.mjs`. */
export type ProgramName = "worker" | "math";
type ProgramLoader = (name: ProgramName) => Promise<string>;

const loaders = new Set<ProgramLoader>();

/** `load` loads programs from where this bundle came from. Returns a function that removes it. */
export function addProgramLoader(load: ProgramLoader): () => void {
  loaders.add(load);
  return () => loaders.delete(load);
}

async function loadProgram(name: ProgramName): Promise<string> {
  // The newest first: an older window's kernel may be gone.
  for (const load of [...loaders].reverse()) {
    const program = await load(name).catch(() => null);
    if (program !== null) return program;
  }
  throw new Error(`${name} cannot be loaded`);
}

const clients = { worker: new WorkerClient(() => loadProgram("worker")), math: new WorkerClient(() => loadProgram("math")) };

/** Formulas have a program of their own, because most pages need none of it. */
export const clientOf = (job: Job): WorkerClient => clients[job.do === "math" ? "math" : "worker"];

const keyOf = (job: Job): string => {
  if (job.do === "highlight") return `${job.language} ${job.text}`;
  return job.do === "parse" ? `parse ${job.text}` : `${job.display} ${job.text}`;
};

const whenIdle = (): Promise<void> =>
  new Promise((resolve) => {
    if (typeof requestIdleCallback === "function") requestIdleCallback(() => resolve());
    else setTimeout(resolve);
  });

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL: (url: string) => string }): {
    createScriptURL: (url: string) => unknown;
  };
}

const trustedUrls = new Set<string>();
let policy: ReturnType<TrustedTypes["createPolicy"]> | undefined;

/** On a page that requires Trusted Types: `url` from a policy that accepts no other URL than those of programs. */
function trustedScriptUrl(url: string): unknown {
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
  if (trustedTypes === undefined) return url;
  trustedUrls.add(url);
  const createScriptURL = (requested: string): string => {
    if (!trustedUrls.has(requested)) throw new TypeError(`unexpected script: ${requested}`);
    return requested;
  };
  policy ??= trustedTypes.createPolicy("bqwidget", { createScriptURL });
  return policy.createScriptURL(url);
}
