// @ts-check
/** Puts the page together. */

import { onKeyNeeded } from "./api.js";
import { byId } from "./dom.js";
import { onDrop } from "./drop.js";
import { Easel } from "./easel.js";
import { told } from "./failure.js";
import { Form } from "./form.js";
import { Gallery } from "./gallery.js";
import { askForKey } from "./keydialog.js";
import { offerExamples, showShapes } from "./miniature.js";
import { theModel } from "./model.js";
import { notify, say } from "./notice.js";
import { parametersIn } from "./parameters.js";
import { Stage } from "./stage.js";

/** @typedef {import("./store.js").Kept} Kept */

onKeyNeeded(askForKey);
showShapes();
const form = new Form();

const acts = {
  useAgain: (/** @type {Kept} */ picture) => {
    take(picture);
    form.prompt.focus();
    notify("Its parameters are in the form.");
  },
  vary: (/** @type {Kept} */ picture) => {
    take(picture);
    form.source.show(picture.blob);
    form.seed.value = undefined;
    generate();
  },
  neighbour: (/** @type {Kept} */ picture) => {
    take(picture);
    form.seed.value = (picture.parameters.seed ?? 0) + 1;
    generate();
  },
  remove: async (/** @type {Kept} */ picture) => {
    await gallery.remove(picture);
  },
};
const gallery = new Gallery(acts);
const stage = new Stage((picture) => gallery.thumbnail(picture), acts);
gallery.onChange = () => stage.prune(gallery.pictures);
const easel = new Easel(stage, showBusy, (pictures) => {
  form.seed.latest = pictures[0]?.parameters.seed;
  say(pictures.length === 1 ? "The picture is drawn." : `${pictures.length} pictures are drawn.`);
  gallery.add(...pictures);
});

/** Puts all that made a picture into the form. @param {Kept} picture */
function take({ parameters, source }) {
  form.write({ ...parameters, n: 1 });
  form.source.show(source);
}

/** @param {string} prompt */
function suggest(prompt) {
  form.write({ ...form.read(), prompt });
  form.prompt.focus({ preventScroll: true });
}

function generate() {
  if (easel.isBusy) notify("One drawing at a time: the form is filled, generate when this one is done.");
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
async function readParameters(file) {
  const parameters = await parametersIn(file);
  if (!parameters) {
    notify("No parameters are written in this file.", { label: "Begin at it", run: () => form.source.take(file) });
    return;
  }
  form.source.show(null);
  form.write(parameters);
  const text = parameters.strength
    ? "Its parameters are in the form, but the picture that it began at is not in the file."
    : "Its parameters are in the form.";
  notify(text, { label: "Begin at it", run: () => form.source.take(file) });
}

form.element.addEventListener("submit", async (event) => {
  event.preventDefault();
  await form.source.taken;
  if (!easel.isBusy) easel.draw(form.read(), form.source.file);
});
byId("cancel").addEventListener("click", () => easel.cancel());
addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.isComposing) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    generate();
  }
  if (event.key === "Escape") easel.cancel();
});

const file = /** @type {HTMLInputElement} */ (byId("parameters-file"));
byId("read").addEventListener("click", () => file.click());
file.addEventListener("change", () => {
  if (file.files?.[0]) readParameters(file.files[0]);
  file.value = "";
});
onDrop(readParameters, (dropped) => form.source.take(dropped));

await gallery.load().catch(() => notify("This browser keeps no pictures for the page."));
stage.show(gallery.pictures.slice(0, 1));
easel.resume();

const patience = {
  signal: new AbortController().signal,
  onWait: () => (byId("model").textContent = "not reachable, trying again …"),
};
try {
  const model = await theModel(patience);
  byId("model").textContent = model.id;
  form.suit(model);
  if (model.isMiniature) offerExamples(suggest);
} catch (error) {
  byId("model").textContent = told(error);
}
