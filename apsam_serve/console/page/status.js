// The line at the bottom: what is going on, where the pointer is, how long the last answer took,
// how long the service holds the picture, and whether it is there.

import * as api from "./api.js";
import { element } from "./element.js";

const ASK_EVERY_MS = 10_000;
const PARTS = ["network", "queue", "device", "console"];

export class Status {
  #app;
  #at = (id) => document.getElementById(id);

  constructor(app) {
    this.#app = app;
    app.onChange(() => this.#render());
    app.onMove(() => this.#where());
    setInterval(() => this.#lease(), 500);
    setInterval(() => {
      if (!document.hidden) this.ask();
    }, ASK_EVERY_MS);
  }

  /** Whether the service is there. */
  async ask() {
    try {
      this.#app.info = { ...this.#app.info, ...(await api.info()) };
    } catch (error) {
      if (!(error instanceof api.ConsoleError)) throw error;
      const server = { ...this.#app.info?.server, serving: false };
      this.#app.info = { ...this.#app.info, server };
    }
    this.#app.changed();
  }

  #render() {
    const { question, note, image, info, strategy } = this.#app;
    const state = question ? "Waiting for the mask" : image ? note : "No picture";
    put(this.#at("state"), state);
    document.body.dataset.busy = question || note !== "Ready" ? "yes" : "no";
    this.#where();
    this.#latency();
    this.#lease();
    put(this.#at("strategy"), strategy === "apg" ? "Adaptive points" : "Direct");
    if (!info?.server) return;
    const { serving, model, preset, address, version } = info.server;
    const server = this.#at("server");
    server.dataset.serving = serving ? "yes" : "no";
    put(server, serving ? `${model ?? preset ?? "serving"}` : "service away");
    server.title = Object.entries({ address, model, version, project: info.project })
      .filter(([, value]) => value).map(([name, value]) => `${name} ${value}`).join("\n");
  }

  #where() {
    const { cross, pointer, image, place } = this.#app;
    const at = cross ?? pointer;
    const zoom = image ? `${Math.round(place.scale * 100)} %` : "";
    put(this.#at("where"), at ? `${zoom}  x ${Math.floor(at.x)}  y ${Math.floor(at.y)}` : zoom);
  }

  #latency() {
    const { timings } = this.#app;
    const root = this.#at("latency");
    if (!timings) return;
    const told = JSON.stringify(timings);
    if (root.dataset.told === told) return;
    root.dataset.told = told;
    const encoded = timings.page === null;
    const whole = timings.page ?? timings.total;
    const total = element("b", {}, `${encoded ? "encoded in" : "answer"} ${milliseconds(whole)}`);
    // What the console and this page took themselves, beside the call to the service.
    const times = { ...timings, console: Math.max(0, whole - timings.total) };
    // A reply without stages, as of an encoded picture, has no parts to tell.
    const known = encoded ? [] : PARTS.filter((name) => times[name] !== undefined);
    const parts = known.map((name) => element("span", {}, `${name} ${milliseconds(times[name])}`));
    root.replaceChildren(total, ...(known.length === PARTS.length ? parts : []));
    root.title = Object.entries(timings.stages ?? {})
      .filter(([, time]) => time > 0)
      .map(([stage, time]) => `${stage} ${milliseconds(time)}`).join("\n");
  }

  #lease() {
    const { lease } = this.#app;
    const root = this.#at("lease");
    if (!lease) return put(root, "");
    const left = Math.max(0, Math.round((lease.until - performance.now()) / 1000));
    root.dataset.low = left < 15 ? "yes" : "no";
    const clock = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    put(root, left ? `held ${clock}` : "not held; the next click encodes");
  }
}

function milliseconds(value) {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
