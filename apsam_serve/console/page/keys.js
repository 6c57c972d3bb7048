// Every key in one table: it drives the page, and the help overlay is made of it.

import { element } from "./element.js";
import { VIEW_KEYS } from "./views.js";

export const CATEGORY_KEYS = [..."1234567890abcdefghijklmnopqrst"];

/** [keys, action, argument, what it does]; the first of the keys is shown. */
const GROUPS = [
  ["Object", [
    [["Space"], "point", true, "click on the object at the cross"],
    [["n"], "point", false, "click beside the object (not part of it)"],
    [["b"], "corner", null, "first, then second corner of a box"],
    [["Enter"], "accept", null, "accept the mask, or the selected suggestion"],
    [["Escape"], "drop", null, "drop the object in work"],
    [["c"], "category", null, "choose a category by one more key"],
    [["1 … 0"], "named", 0, "one of the first ten categories"],
    [["x"], "reject", null, "reject the selected suggestion or object, or take it back"],
    [["Delete", "Backspace"], "remove", null, "delete the selected object"],
    [["z", "Ctrl+z"], "undo", null, "undo"],
    [["y", "Ctrl+y", "Ctrl+Shift+z"], "redo", null, "redo"],
  ]],
  ["Cross and selection", [
    [["ArrowLeft"], "move", [-1, 0], "move the cross"],
    [["ArrowRight"], "move", [1, 0], ""],
    [["ArrowUp"], "move", [0, -1], ""],
    [["ArrowDown"], "move", [0, 1], ""],
    [["Shift+ArrowLeft"], "nudge", [-1, 0], "move it by one pixel"],
    [["Shift+ArrowRight"], "nudge", [1, 0], ""],
    [["Shift+ArrowUp"], "nudge", [0, -1], ""],
    [["Shift+ArrowDown"], "nudge", [0, 1], ""],
    [["s"], "suggest", null, "suggest objects"],
    [["j"], "next", 1, "next suggestion or object"],
    [["k"], "next", -1, "the one before"],
    [["v"], "strategy", null, "with adaptive points, or the clicks alone"],
  ]],
  ["View", [
    ...VIEW_KEYS.map(({ name, words, key }) => [[key], "view", name, name === "original"
      ? "original; hold it down to see nothing but the picture" : words]),
    [["m"], "masks", null, "masks on or off"],
    [[","], "fainter", -0.1, "masks fainter"],
    [["."], "fainter", 0.1, "masks stronger"],
    [["l"], "loupe", null, "loupe"],
    [["+", "="], "zoom", 1.25, "closer"],
    [["-"], "zoom", 0.8, "further away"],
    [["f"], "fit", null, "the whole picture"],
    [["w"], "wide", null, "hide or show the lists"],
  ]],
  ["Pictures", [
    [["PageDown"], "turn", 1, "next picture"],
    [["PageUp"], "turn", -1, "picture before"],
    [["Shift+Enter"], "finish", null, "done with this one, next"],
    [["a"], "add", null, "add pictures"],
    [["Shift+e"], "export", null, "export"],
    [["?"], "help", null, "this list"],
  ]],
];

const MOUSE = [
  ["Left", "on the object"], ["Right", "beside the object"], ["Left, drag", "box"],
  ["Wheel", "zoom"], ["Middle, drag", "move the picture"], ["Alt and left", "select an object"],
];

const TABLE = new Map(GROUPS.flatMap(([, rows]) => rows.flatMap(
  ([keys, action, argument]) => keys.map((key) => [key, [action, argument]]),
)));
CATEGORY_KEYS.slice(0, 10).forEach((key, index) => TABLE.set(key, ["named", index]));

const REPEATED = new Set(
  ["move", "nudge", "zoom", "fainter", "next", "undo", "redo", "turn"],
);
const NAMED = /^(Ctrl\+|(Shift\+)?(Arrow|Enter)|Space|Page|Escape|Delete|Backspace)/;

/** How the table names a key that was pressed. */
export function nameOf({ key, shiftKey, ctrlKey, metaKey }) {
  const letter = key.length === 1;
  const plain = key === " " ? "Space" : letter ? key.toLowerCase() : key;
  const shift = shiftKey && (!letter || /[a-z]/.test(plain)) ? "Shift+" : "";
  return `${ctrlKey || metaKey ? "Ctrl+" : ""}${shift}${plain}`;
}

/** Whether the element needs the key itself. */
function wants(target, name) {
  if (target.closest("dialog")) return true;
  if (target.matches("textarea, select, input:not([type=radio], [type=range], [type=checkbox])")) {
    return true;
  }
  if (target.matches("input")) return name === "Space" || name.includes("Arrow");
  return target.matches("button, a[href], summary") && (name === "Space" || name === "Enter");
}

export class Keys {
  /** `perform` carries an action out; `single` says whether keys without a modifier are on. */
  constructor(perform, single) {
    addEventListener("keydown", (event) => {
      if (event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
      const name = nameOf(event);
      const found = TABLE.get(name);
      if (!found || wants(event.target, name)) return;
      if (!single() && !NAMED.test(name)) return;
      event.preventDefault();
      const [action, argument] = found;
      if (event.repeat && !REPEATED.has(action)) return;
      if (name === "o") perform("peek", true);
      perform(action, argument);
    });
    addEventListener("keyup", (event) => {
      if (nameOf(event) === "o") perform("peek", false);
    });
    addEventListener("blur", () => perform("peek", false));
  }
}

const MARKS = [
  ["+ −", "what was clicked: on the object, beside it"],
  ["◆", "adaptive points: where the model looked again"],
  ["dashed", "suggestions; nothing of them is saved until accepted"],
];

/** [title, [[key, what it does]]], as people read it. */
export function table() {
  const groups = GROUPS.map(([title, rows]) => [
    title, rows.filter((row) => row[3]).map(([keys, , , text]) => [shown(keys[0]), text]),
  ]);
  return [...groups, ["Mouse", MOUSE], ["Marks", MARKS]];
}

/** The help overlay's lists. */
export function describe(root) {
  for (const [title, rows] of table()) root.append(group(title, rows));
}

const WORDS = { Escape: "Esc", Delete: "Del", PageDown: "Page ↓", PageUp: "Page ↑" };

function shown(key) {
  if (key.endsWith("ArrowLeft")) return key.startsWith("Shift") ? "⇧ ← ↑ ↓ →" : "← ↑ ↓ →";
  const name = WORDS[key] ?? key.replace("Shift+", "⇧ ");
  return name.replace(/^(⇧ )?[a-z]$/, (letter) => letter.toUpperCase());
}

function group(title, rows) {
  const list = element("dl");
  for (const [key, text] of rows) {
    list.append(element("dt", {}, element("kbd", {}, key)), element("dd", {}, text));
  }
  return element("section", {}, element("h3", {}, title), list);
}
