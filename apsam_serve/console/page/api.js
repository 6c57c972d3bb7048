// The console's REST interface, one function per call.

/** What the console answers when it cannot do a thing: reason, message, fix. */
export class ConsoleError extends Error {
  constructor({ reason, message, fix = "", status = 0, retryAfter = null }) {
    super(message);
    Object.assign(this, { reason, fix, status, retryAfter });
  }
}

async function call(method, path, { body, headers = {}, signal, read = "json" } = {}) {
  const raw = body === undefined || body instanceof Blob;
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: raw ? headers : { "Content-Type": "application/json", ...headers },
      body: raw ? body : JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ConsoleError({
      reason: "NO_CONSOLE",
      message: "the console does not answer",
      fix: "see whether apsam-console still runs; this page goes on by itself",
      retryAfter: 2,
    });
  }
  if (response.ok) return response.status === 204 ? null : response[read]();
  throw await refusal(response);
}

/** A response that is no success, as an error. */
async function refusal(response) {
  const told = await response.json().then((document) => document.error, () => null);
  const after = told?.retry_after_s ?? response.headers.get("Retry-After");
  return new ConsoleError({
    reason: told?.reason ?? `HTTP ${response.status}`,
    message: told?.message ?? "the console answered without a reason",
    fix: told?.fix ?? "its log has the details",
    status: response.status,
    retryAfter: after === null || after === undefined ? null : Number(after),
  });
}

const image = (id, rest = "") => `/api/images/${id}${rest}`;

export const info = () => call("GET", "/api/info");
export const images = () => call("GET", "/api/images");
export const addImage = (file) =>
  call("POST", "/api/images", {
    body: file,
    headers: { "X-Filename": encodeURIComponent(file.name) },
  });
export const startImport = (folder) => call("POST", "/api/import", { body: { folder } });
export const importState = (job) => call("GET", `/api/import/${encodeURIComponent(job)}`);
/** A view of a picture: a Blob of a PNG file. */
export const view = (id, name) => call("GET", image(id, `/view/${name}.png`), { read: "blob" });
export const open = (id, signal) => call("POST", image(id, "/open"), { body: {}, signal });
export const segment = (id, prompt, signal) =>
  call("POST", image(id, "/segment"), { body: prompt, signal });
export const propose = (id, signal) => call("POST", image(id, "/propose"), { body: {}, signal });
export const objects = (id) => call("GET", image(id, "/objects"));
export const saveObject = (id, object) => call("POST", image(id, "/objects"), { body: object });
export const changeObject = (id, fields) => call("PATCH", `/api/objects/${id}`, { body: fields });
export const removeObject = (id) => call("DELETE", `/api/objects/${id}`);
export const setStatus = (id, status) => call("PATCH", image(id), { body: { status } });
/** The project in another program's form: a Blob of a zip file. */
export const exported = (name) => call("GET", `/api/export/${name}.zip`, { read: "blob" });
