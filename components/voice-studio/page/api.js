// The server's interface: every request that the page makes, and the events of a command. Knows no element of the page.
// All addresses are relative to the page, so that it works under any prefix.

/** What the server, or the way to it, refused. `code` is the server's, or "offline", "lost", "other"; `field` the field at fault. */
export class Refusal extends Error {
  constructor(code, message = "", field = "") {
    super(message);
    Object.assign(this, { code, field });
  }
}

/** Whether an error is the person's own: they cancelled. */
export const isCancelled = (error) => error.name === "AbortError" || error.code === "cancelled";

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    throw error.name === "AbortError" ? error : new Refusal("offline");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  const { code = "other", message = `${response.status} ${response.statusText}`.trim(), field } = body.error ?? {};
  throw new Refusal(code, message, field);
}

const read = async (path) => (await request(path)).json();

async function send(path, body) {
  const headers = { "content-type": "application/json" };
  return (await request(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

export const modes = () => read("api/check_backend");
export const session = () => read("api/session_info");
export const gallery = () => read("gallery");
export const choose = (image) => send("api/current", { image });
export const login = (name, password) => send("api/login", { name, password });
export const register = (name, password) => send("api/register", { name, password });
export const logout = () => send("api/logout", {});
export const remove = (image) => request(`api/images/${encodeURIComponent(image)}`, { method: "DELETE" });

/**
 * Carries out a command, spoken (`audio`, a Blob) or written (`text`), and hands over each event as it comes.
 * Aborting `signal` cancels it on the server as well. Resolves with the data of `done`.
 */
export async function command({ audio, text, language, mode, image }, signal, onEvent) {
  const body = new FormData();
  if (audio) body.append("audio", audio, `command.${fileEnding(audio.type)}`);
  else body.append("text", text);
  body.append("language", language);
  body.append("mode", mode);
  if (image) body.append("image", image);
  const options = { method: "POST", body, signal, headers: { accept: "text/event-stream" } };
  const response = await request("process_command", options);
  return outcome(response.body.getReader(), onEvent);
}

const fileEnding = (type) => ["webm", "mp4", "ogg", "wav"].find((ending) => type.includes(ending)) ?? "webm";

/** Reads events until `done` or `error`; a stream that ends before either was cut off. */
async function outcome(reader, onEvent) {
  const events = new EventReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      for (const { name, data } of done ? [] : events.feed(value)) {
        if (name === "error") throw new Refusal(data.code, data.message, data.field);
        if (name === "done") return data;
        onEvent(name, data);
      }
      if (done) throw new Refusal("lost");
    }
  } catch (error) {
    // the browser's words for a broken connection, and for one that broke within an event
    throw error instanceof TypeError || error instanceof SyntaxError ? new Refusal("lost") : error;
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Text of server-sent events in pieces of any length, made into events with JSON data. */
export class EventReader {
  #decoder = new TextDecoder();
  #rest = "";

  /** The events that are whole after these bytes. */
  feed(bytes) {
    this.#rest += this.#decoder.decode(bytes, { stream: true });
    const blocks = this.#rest.split(/\r?\n\r?\n/);
    this.#rest = blocks.pop();
    return blocks.map(eventOf).filter((event) => event !== null);
  }
}

function eventOf(block) {
  let name = "message";
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === "event") name = value;
    if (field === "data") data.push(value);
  }
  // comments alone keep a connection open, and are no event
  return data.length ? { name, data: JSON.parse(data.join("\n")) } : null;
}
