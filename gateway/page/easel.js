// @ts-check
/** One drawing at a time: asked for, followed, cancelled, and taken up again after a reload. */

import { Failure, failureOf } from "./failure.js";
import * as jobs from "./job.js";
import { parametersIn } from "./parameters.js";
import { base64 } from "./source.js";
import * as store from "./store.js";

/** @typedef {import("./job.js").Wish} Wish */
/** @typedef {import("./store.js").Kept} Kept */
/** @typedef {import("./patience.js").Patience} Patience */

const RUNNING = "running"; // where a reload finds the job: {id, wish}

export class Easel {
  /**
   * @param {import("./stage.js").Stage} stage
   * @param {(busy: boolean) => void} onBusy
   * @param {(pictures: Kept[]) => void} onDone
   */
  constructor(stage, onBusy, onDone) {
    this.stage = stage;
    this.onBusy = onBusy;
    this.onDone = onDone;
    /** @type {AbortController | null} */
    this.running = null;
    /** @type {string | null} */
    this.job = null;
  }

  get isBusy() {
    return this.running !== null;
  }

  /**
   * @param {Wish} wish
   * @param {Blob | null} source the picture to begin at
   */
  draw(wish, source) {
    return this.#run(wish, source, async (patience) => {
      const image = source && (await base64(source));
      const { id } = await jobs.submit(wish, image, patience);
      sessionStorage.setItem(RUNNING, JSON.stringify({ id, wish }));
      if (source) await store.keepSource(id, source).catch(() => {}); // then a reload forgets it
      return id;
    });
  }

  /** What a reload interrupted. */
  async resume() {
    const { id, wish } = JSON.parse(sessionStorage.getItem(RUNNING) ?? "{}");
    if (!id) return;
    const source = (await store.sourceOf(id).catch(() => null)) ?? null;
    await this.#run(wish, source, async () => id);
  }

  cancel() {
    if (!this.running) return;
    this.running.abort();
    if (this.job) jobs.cancel(this.job).catch(() => {}); // it ends by itself, only later
  }

  /**
   * @param {Wish} wish
   * @param {Blob | null} source
   * @param {(patience: Patience) => Promise<string>} begin says the id of the job
   */
  async #run(wish, source, begin) {
    const { signal } = (this.running = new AbortController());
    const patience = {
      signal,
      /** @type {Patience["onWait"]} */
      onWait: (failure, seconds) => this.stage.wait(failure, seconds),
    };
    this.onBusy(true);
    this.stage.begin(wish, source);
    try {
      this.job = await begin(patience);
      const pictures = await this.#see(this.job, wish, source, patience);
      this.onDone(pictures);
      this.stage.show(pictures);
    } catch (error) {
      if (signal.aborted || error === CANCELLED) this.stage.leave();
      else this.stage.fail(error, () => this.draw(wish, source));
    } finally {
      if (this.job) store.forgetSource(this.job).catch(() => {});
      sessionStorage.removeItem(RUNNING);
      this.job = this.running = null;
      this.onBusy(false);
    }
  }

  /**
   * @param {string} id
   * @param {Wish} wish
   * @param {Blob | null} source
   * @param {Patience} patience
   * @returns {Promise<Kept[]>}
   */
  async #see(id, wish, source, patience) {
    for await (const job of jobs.follow(id, patience)) {
      if (job.status === "failed") throw job.error ? failureOf(job.error) : new Failure(500, "");
      if (job.status === "cancelled") throw CANCELLED;
      if (job.status === "completed") {
        const at = Date.now();
        return Promise.all(
          job.data.map(async ({ index, seed }) => {
            const blob = await jobs.picture(id, index, patience);
            const own = { negative_prompt: "", ...wish, seed };
            const parameters = { ...own, ...(await parametersIn(blob)) };
            return { id: `${id}/${index}`, at: at - index, blob, wish, parameters, source };
          }),
        );
      }
      this.stage.follow(job);
    }
    throw new Failure(500, "the drawing ended without a picture");
  }
}

const CANCELLED = new Error("cancelled");
