// @ts-check
/** The page's entry point: connects form, drawing, gallery and server. */

import { onKeyNeeded } from "./gateway/client.js";
import { byId } from "./dom.js";
import { onFileDropped } from "./form/drop_zone.js";
import { DrawingController } from "./drawing/drawing_controller.js";
import { messageFor } from "./gateway/errors.js";
import { Form } from "./form/form.js";
import { Gallery } from "./pictures/gallery.js";
import { askForKey } from "./key_dialog.js";
import { showExamples, showShapes } from "./form/examples.js";
import { fetchModel } from "./gateway/model.js";
import { notify, announce } from "./notifications.js";
import { readParameters } from "./pictures/parameters.js";
import { DrawingView } from "./drawing/drawing_view.js";

/** @typedef {import("./pictures/picture_store.js").StoredPicture} StoredPicture */

onKeyNeeded(askForKey);
showShapes();
const form = new Form();

const actions = {
  reuse: (/** @type {StoredPicture} */ picture) => {
    fillForm(picture);
    form.prompt.focus();
    notify("Its parameters are in the form.");
  },
  vary: (/** @type {StoredPicture} */ picture) => {
    fillForm(picture);
    form.source.show(picture.blob);
    form.seed.value = undefined;
    generate();
  },
  nextSeed: (/** @type {StoredPicture} */ picture) => {
    fillForm(picture);
    form.seed.value = (picture.parameters.seed ?? 0) + 1;
    generate();
  },
  remove: async (/** @type {StoredPicture} */ picture) => {
    await gallery.remove(picture);
  },
};
const gallery = new Gallery(actions);
const view = new DrawingView((picture) => gallery.thumbnail(picture), actions);
gallery.onChange = () => view.removeDeleted(gallery.pictures);
const controller = new DrawingController(view, showBusy, (pictures) => {
  form.seed.latest = pictures[0]?.parameters.seed;
  announce(pictures.length === 1 ? "The picture is drawn." : `${pictures.length} pictures are drawn.`);
  gallery.add(...pictures);
});

/** Puts the parameters and the source image of a picture into the form. @param {StoredPicture} picture */
function fillForm({ parameters, source }) {
  form.write({ ...parameters, n: 1 });
  form.source.show(source);
}

/** @param {string} prompt */
function usePrompt(prompt) {
  form.write({ ...form.read(), prompt });
  form.prompt.focus({ preventScroll: true });
}

function generate() {
  if (controller.isBusy) notify("One drawing at a time: the form is filled, generate when this one is done.");
  else form.element.requestSubmit();
}

/** @param {boolean} busy */
function showBusy(busy) {
  const [button, cancel] = [byId("generate"), byId("cancel")];
  const focused = document.activeElement;
  /** @type {HTMLButtonElement} */ (button).disabled = busy;
  cancel.hidden = !busy;
  if (busy && focused === button) cancel.focus();
  if (!busy && focused === cancel) button.focus({ preventScroll: true });
}

/** @param {Blob} file */
async function readParametersOf(file) {
  const parameters = await readParameters(file);
  if (!parameters) {
    notify("No parameters are written in this file.", { label: "Begin at it", run: () => form.source.load(file) });
    return;
  }
  form.source.show(null);
  form.write(parameters);
  const text = parameters.strength
    ? "Its parameters are in the form, but the picture that it began at is not in the file."
    : "Its parameters are in the form.";
  notify(text, { label: "Begin at it", run: () => form.source.load(file) });
}

form.element.addEventListener("submit", async (event) => {
  event.preventDefault();
  await form.source.loaded;
  if (!controller.isBusy) controller.draw(form.read(), form.source.file);
});
byId("cancel").addEventListener("click", () => controller.cancel());
addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.isComposing) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    generate();
  }
  if (event.key === "Escape") controller.cancel();
});

const file = /** @type {HTMLInputElement} */ (byId("parameters-file"));
byId("read").addEventListener("click", () => file.click());
file.addEventListener("change", () => {
  if (file.files?.[0]) readParametersOf(file.files[0]);
  file.value = "";
});
onFileDropped(readParametersOf, (dropped) => form.source.load(dropped));

await gallery.load().catch(() => notify("This browser keeps no pictures for the page."));
view.showPictures(gallery.pictures.slice(0, 1));
controller.resume();

const retry = {
  signal: new AbortController().signal,
  onRetry: () => (byId("model").textContent = "not reachable, trying again …"),
};
try {
  const model = await fetchModel(retry);
  byId("model").textContent = model.id;
  form.setModel(model);
  if (model.isMiniature) showExamples(usePrompt);
} catch (error) {
  byId("model").textContent = messageFor(error);
}
