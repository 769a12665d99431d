// @ts-check
/** Runs one drawing at a time: submits, follows and cancels its job, and resumes it after a reload. */

import { GatewayError, errorOfJob } from "../gateway/errors.js";
import * as jobs from "../gateway/jobs.js";
import { readParameters } from "../pictures/parameters.js";
import { base64 } from "../form/source_image.js";
import * as store from "../pictures/picture_store.js";

/** @typedef {import("../gateway/jobs.js").GenerationRequest} GenerationRequest */
/** @typedef {import("../pictures/picture_store.js").StoredPicture} StoredPicture */
/** @typedef {import("../gateway/retry.js").RetryOptions} RetryOptions */

const RUNNING_JOB = "running-job"; // {id, request}, for a reload of the page

export class DrawingController {
  /**
   * @param {import("./drawing_view.js").DrawingView} view
   * @param {(busy: boolean) => void} onBusy
   * @param {(pictures: StoredPicture[]) => void} onDone
   */
  constructor(view, onBusy, onDone) {
    this.view = view;
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
   * @param {GenerationRequest} request
   * @param {Blob | null} source the picture to start from
   */
  draw(request, source) {
    return this.#run(request, source, async (retry) => {
      const image = source && (await base64(source));
      const { id } = await jobs.submit(request, image, retry);
      sessionStorage.setItem(RUNNING_JOB, JSON.stringify({ id, request }));
      if (source) await store.putSource(id, source).catch(() => {}); // only a reload needs it
      return id;
    });
  }

  /** Resumes the drawing that a reload of the page interrupted. */
  async resume() {
    const { id, request } = JSON.parse(sessionStorage.getItem(RUNNING_JOB) ?? "{}");
    if (!id) return;
    const source = (await store.getSource(id).catch(() => null)) ?? null;
    await this.#run(request, source, async () => id);
  }

  cancel() {
    if (!this.running) return;
    this.running.abort();
    if (this.job) jobs.cancel(this.job).catch(() => {}); // the job ends by itself, only later
  }

  /**
   * @param {GenerationRequest} request
   * @param {Blob | null} source
   * @param {(retry: RetryOptions) => Promise<string>} begin gives the id of the job
   */
  async #run(request, source, begin) {
    const { signal } = (this.running = new AbortController());
    const retry = {
      signal,
      /** @type {RetryOptions["onRetry"]} */
      onRetry: (error, seconds) => this.view.showRetry(error, seconds),
    };
    this.onBusy(true);
    this.view.showStart(request, source);
    try {
      this.job = await begin(retry);
      const pictures = await this.#follow(this.job, request, source, retry);
      this.onDone(pictures);
      this.view.showPictures(pictures);
    } catch (error) {
      if (signal.aborted || error === CANCELLED) this.view.showCancelled();
      else this.view.showError(error, () => this.draw(request, source));
    } finally {
      if (this.job) store.removeSource(this.job).catch(() => {});
      sessionStorage.removeItem(RUNNING_JOB);
      this.job = this.running = null;
      this.onBusy(false);
    }
  }

  /**
   * @param {string} id
   * @param {GenerationRequest} request
   * @param {Blob | null} source
   * @param {RetryOptions} retry
   * @returns {Promise<StoredPicture[]>}
   */
  async #follow(id, request, source, retry) {
    for await (const job of jobs.follow(id, retry)) {
      if (job.status === "failed") throw job.error ? errorOfJob(job.error) : new GatewayError(500, "");
      if (job.status === "cancelled") throw CANCELLED;
      if (job.status === "completed") {
        const at = Date.now();
        return Promise.all(
          job.data.map(async ({ index, seed }) => {
            const blob = await jobs.picture(id, index, retry);
            const own = { negative_prompt: "", ...request, seed };
            const parameters = { ...own, ...(await readParameters(blob)) };
            return { id: `${id}/${index}`, at: at - index, blob, request, parameters, source };
          }),
        );
      }
      this.view.showProgress(job);
    }
    throw new GatewayError(500, "the drawing ended without a picture");
  }
}

const CANCELLED = new Error("cancelled");
