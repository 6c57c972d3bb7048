// Puts the page together and starts it.

import * as api from "./api.js";
import { Actions } from "./actions.js";
import { App } from "./app.js";
import { Asking } from "./asking.js";
import { Canvas } from "./canvas.js";
import { Cards } from "./cards.js";
import { Dialogs } from "./dialogs.js";
import { Keys } from "./keys.js";
import { Lists } from "./list.js";
import { Looking } from "./looking.js";
import { Pointer } from "./pointer.js";
import { Saving } from "./saving.js";
import { Status } from "./status.js";
import { Views } from "./views.js";
import { fit } from "./viewport.js";

const SINGLE_KEYS = "apsam.single-keys";
const at = (id) => document.getElementById(id);

const app = new App();
const cards = new Cards(at("cards"));
const asking = new Asking(app, cards);
const saving = new Saving(app, cards);
const dialogs = new Dialogs(app, cards);
const views = new Views(app, cards, at("views"));
const looking = new Looking(app, views);
const actions = new Actions(app, { asking, cards, dialogs, looking, saving, views });
const canvas = new Canvas(at("picture"));

/** What a key or a button names. */
function perform(name, argument) {
  return (name in actions ? actions : looking)[name](argument);
}

app.onChange((_, now) => canvas.draw(app, now));
new Lists(app, actions);
new Status(app);
new Pointer(app, actions, looking, at("picture"));
new Keys(perform, () => at("single-keys").checked);

// Buttons name their action; the mouse gives the focus back, so that Enter and Space stay keys of
// the picture.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (button) perform(button.dataset.action);
  const own = event.target.closest("button, input[type=radio], input[type=range]");
  if (event.detail && own && !document.querySelector("dialog[open]")) at("picture").focus();
});

at("opacity").addEventListener("input", ({ target }) => looking.opacity(target.value / 100));
app.onChange(() => {
  at("opacity").value = Math.round(app.opacity * 100);
  at("masks").setAttribute("aria-pressed", app.masks);
  at("loupe").setAttribute("aria-pressed", app.loupe);
  at("undo").disabled = !app.history.past.length;
  at("redo").disabled = !app.history.future.length;
  at("suggest").disabled = !app.image;
});

new ResizeObserver(([{ contentRect: { width, height } }]) => {
  const whole = app.image && app.place.scale === fit(app.image, app.stage).scale;
  app.stage = { width, height };
  if (whole) looking.fit();
  else app.changed();
}).observe(at("stage"));

// A focus ring around the picture is for the keyboard; the mouse knows where it is.
addEventListener("keydown", () => { document.body.dataset.hands = "keys"; }, true);
addEventListener("pointerdown", () => { document.body.dataset.hands = "pointer"; }, true);

// Files dropped anywhere on the page.
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  dialogs.upload([...event.dataTransfer.files]);
});

at("single-keys").checked = localStorage.getItem(SINGLE_KEYS) !== "off";
at("single-keys").addEventListener("change", ({ target }) => {
  localStorage.setItem(SINGLE_KEYS, target.checked ? "on" : "off");
});

/** The list of pictures anew; show one of them unless one is on the stage. */
async function list(first = null) {
  app.images = await cards.attempt("images", () => api.images(), { again: () => list(first) });
  app.image = app.images.find((one) => one.id === app.image?.id) ?? app.image;
  app.changed();
  const named = Number(location.hash.slice(1));
  const wanted = first?.id
    ?? (app.image ? null : app.images.find((one) => one.id === named) ?? app.images[0])?.id;
  if (wanted) await actions.show(wanted);
}
dialogs.onAdded = list;
dialogs.onImported = () => saving.catchUp();

app.info = await cards.attempt("info", () => api.info());
views.build(app.info.views, app.info.view_notes);
dialogs.build(app.info);
app.note = "Ready";
await list();
document.body.dataset.started = "yes";
