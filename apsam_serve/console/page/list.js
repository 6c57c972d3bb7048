// The lists beside the stage: pictures, suggestions, objects; and the card of the object in work.

import { element } from "./element.js";
import { letter, look, pattern } from "./patterns.js";
import { adaptivePoints, isAnswered } from "./state.js";
import { shapeOf } from "./shapes.js";

const STATES = { saving: "saving…", saved: "saved", failed: "not saved" };

/** Children of `list` as `items` say: made once per key, told only when something of theirs
 * changed, so that focus and scrolling stay. */
function keep(list, items, make, tell) {
  const old = new Map([...list.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, index) => {
    const key = String(item.key);
    let child = old.get(key);
    if (!child) {
      child = make(item);
      child.dataset.key = key;
    }
    old.delete(key);
    if (list.children[index] !== child) list.insertBefore(child, list.children[index] ?? null);
    const told = JSON.stringify(item);
    if (child.dataset.told !== told) {
      child.dataset.told = told;
      tell(child, item);
    }
  });
  for (const child of old.values()) child.remove();
}

function row(onclick, ...children) {
  return element("li", {}, element("button", { className: "item", onclick }, ...children));
}

function span(className) {
  return element("span", { className });
}

export class Lists {
  #app;
  #actions;
  #seen = {};
  #at = (id) => document.getElementById(id);

  constructor(app, actions) {
    this.#app = app;
    this.#actions = actions;
    app.onChange(() => this.#render());
  }

  #render() {
    this.#pictures();
    this.#draft();
    this.#suggestions();
    this.#objects();
  }

  #pictures() {
    const { images, image } = this.#app;
    if (this.#seen.images === images && this.#seen.image === image) return; // may be thousands
    this.#seen = { images, image };
    const items = images.map(({ id, name, width, height, status, num_objects: count }) => ({
      key: id, name, width, height, done: status === "done", count, current: id === image?.id,
    }));
    keep(this.#at("pictures"), items, (item) => row(
      () => this.#actions.show(item.key), span("name"), span("detail"),
    ), (child, item) => {
      const button = child.firstChild;
      button.querySelector(".name").textContent = button.title = item.name;
      const objects = `${item.count} ${item.count === 1 ? "object" : "objects"}`;
      const detail = `${item.width} × ${item.height}${item.count ? ` · ${objects}` : ""}`;
      button.querySelector(".detail").textContent = `${item.done ? "✓ done · " : ""}${detail}`;
      child.classList.toggle("done", item.done);
      mark(button, item.current, "true");
      if (item.current) child.scrollIntoView({ block: "nearest" });
    });
    const done = images.filter((one) => one.status === "done").length;
    this.#at("progress").textContent = images.length ? `${done} of ${images.length} done` : "";
    this.#at("empty").hidden = Boolean(image);
    const finish = this.#at("finish");
    finish.disabled = !image;
    finish.firstChild.textContent = image?.status === "done" ? "Not done " : "Done, next ";
  }

  #draft() {
    const { draft } = this.#app.work;
    const root = this.#at("draft");
    root.hidden = !draft;
    if (!draft) return;
    const ready = isAnswered(draft) && shapeOf(draft.answer.mask).mask.area > 0;
    this.#at("draft-category").textContent = draft.category
      ?? (draft.answer ? "No category" : "Waiting for the mask");
    this.#at("draft-facts").textContent = draft.answer ? facts(draft) : "";
    root.querySelector("[data-action=accept]").disabled = !ready;
    root.querySelector("[data-action=category]").disabled = !ready;
  }

  #suggestions() {
    const { openSuggestions, selected, work } = this.#app;
    this.#at("suggestions").hidden = !openSuggestions.length;
    this.#at("num-suggestions").textContent = openSuggestions.length;
    const items = openSuggestions.map((one, index) => ({
      key: one.key, name: letter(index), category: one.answer.category, score: one.answer.score,
      selected: one.key === selected, busy: Boolean(work.draft),
    }));
    keep(this.#at("suggested"), items, (item) => row(
      () => this.#actions.take(item.key), span("ring"), span("name"), span("detail"),
    ), (child, item) => {
      child.querySelector(".ring").textContent = item.name;
      child.querySelector(".name").textContent = item.category ?? "No category";
      child.querySelector(".detail").textContent = item.score.toFixed(2);
      const buttons = [["accept", "Accept", "Enter"], ["reject", "Reject", "X"]];
      this.#selected(child, item.selected, ...(item.busy ? [] : buttons));
    });
  }

  #objects() {
    const { work, saved, selected } = this.#app;
    const items = work.objects.map((one, index) => ({
      key: one.key, index, category: one.category, verdict: one.verdict,
      state: saved.get(one.key) ?? "saving", selected: one.key === selected,
    }));
    keep(this.#at("objects"), items, (item) => row(
      () => this.#actions.select(item.key),
      element("canvas", { className: "swatch", width: 44, height: 44 }),
      span("name"), span("detail"),
    ), (child, item) => {
      const rejected = item.verdict === "rejected";
      swatch(child.querySelector("canvas"), item.index);
      const name = `${item.index + 1} ${item.category ?? "No category"}`;
      child.querySelector(".name").textContent = name;
      const verdict = item.verdict === "accepted" ? "" : `${item.verdict} · `;
      child.querySelector(".detail").textContent = `${verdict}${STATES[item.state]}`;
      child.classList.toggle("rejected", rejected);
      child.classList.toggle("failed", item.state === "failed");
      child.dataset.state = item.state;
      this.#selected(child, item.selected, ["category", "Category", "C"],
        ["reject", rejected ? "Accept" : "Reject", "X"], ["remove", "Delete", "Del"]);
    });
    const live = work.objects.filter((one) => one.verdict !== "rejected").length;
    this.#at("num-objects").textContent = work.objects.length ? live : "";
    this.#at("no-objects").hidden = work.objects.length > 0;
  }

  /** What can be done with the selected row stands under it. */
  #selected(child, selected, ...buttons) {
    mark(child.querySelector(".item"), selected, "true");
    child.querySelector(".row")?.remove();
    if (!selected || !buttons.length) return;
    const tools = element("p", { className: "row" });
    for (const [action, text, key] of buttons) {
      const button = element("button", {}, `${text} `, element("kbd", { textContent: key }));
      button.dataset.action = action;
      tools.append(button);
    }
    child.append(tools);
    child.scrollIntoView({ block: "nearest" });
  }
}

function mark(button, current, value) {
  if (current) button.setAttribute("aria-current", value);
  else button.removeAttribute("aria-current");
}

function facts({ answer, points, box, category }) {
  const parts = [`score ${answer.score.toFixed(2)}`];
  if (answer.category && answer.category_probability) {
    const share = `${Math.round(100 * answer.category_probability)} %`;
    parts.push(answer.category === category ? `${share} sure` : `${answer.category} ${share}`);
  }
  if (points.length) parts.push(`${points.length} ${points.length === 1 ? "click" : "clicks"}`);
  if (box) parts.push("box");
  const places = adaptivePoints(answer).length;
  if (places) parts.push(`${places} adaptive points`);
  if (answer.refine_lost) parts.push("from the clicks alone, the mask to refine was gone");
  return parts.join(" · ");
}

function swatch(canvas, index) {
  const context = canvas.getContext("2d");
  const style = look(index);
  context.setTransform(2, 0, 0, 2, 0, 0);
  context.clearRect(0, 0, 22, 22);
  context.fillStyle = "#555";
  context.fillRect(0, 0, 22, 22);
  context.fillStyle = pattern(context, style, { x: 0, y: 0 }, 2);
  context.fillRect(0, 0, 22, 22);
  context.strokeStyle = style.hue;
  context.lineWidth = 3;
  context.strokeRect(0, 0, 22, 22);
}
