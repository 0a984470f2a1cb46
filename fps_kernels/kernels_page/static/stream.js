// The events of the server, as long as the page is open. A stream that ends or breaks is followed by another one.
//
// fetch, not EventSource, which tells neither why it was refused nor that nothing has come for long.

const SILENCE_MS = 40_000; // the server says something every 15 s
const FIRST_DELAY_MS = 500;
const LAST_DELAY_MS = 8_000;

export class Stream {
  // onEvent(name, data); onState(state, message): `live`, `lost`, or `refused`, with what the server says.
  constructor(url, onEvent, onState) {
    this.url = url;
    this.onEvent = onEvent;
    this.onState = onState;
    this.wake = () => {};
    addEventListener("online", () => this.wake());
    document.addEventListener("visibilitychange", () => document.hidden || this.wake());
  }

  async run() {
    let delay = FIRST_DELAY_MS;
    for (;;) {
      let told = false;
      try {
        for await (const [name, data] of this.events()) {
          if (!told) this.onState("live", "");
          told = true;
          this.onEvent(name, data);
        }
      } catch (error) {
        if (error instanceof Refused) this.onState("refused", error.message, error.status);
        else this.onState("lost", "");
      }
      delay = told ? FIRST_DELAY_MS : Math.min(2 * delay, LAST_DELAY_MS);
      await this.pause(delay);
    }
  }

  pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async *events() {
    const stop = new AbortController();
    let timer = setTimeout(() => stop.abort(), SILENCE_MS);
    try {
      const headers = { Accept: "text/event-stream" };
      const response = await fetch(this.url, { headers, cache: "no-store", signal: stop.signal });
      const type = response.headers.get("Content-Type") ?? "";
      if (!response.ok || !type.startsWith("text/event-stream")) {
        throw new Refused(response.ok ? 401 : response.status, await reason(response)); // a form, if it is ok
      }
      let text = "";
      const decoder = new TextDecoder();
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => stop.abort(), SILENCE_MS);
        const parts = (text + decoder.decode(value, { stream: true })).split("\n\n");
        text = parts.pop();
        for (const part of parts) {
          const fields = Object.fromEntries(part.split("\n").map((line) => line.split(/: (.*)/s)));
          if (fields.data) yield [fields.event, JSON.parse(fields.data)];
        }
      }
    } finally {
      clearTimeout(timer);
      stop.abort();
    }
  }
}

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// What the server says of an error, in its own words.
export async function reason(response) {
  try {
    const { message } = await response.json();
    return typeof message === "string" ? message : "";
  } catch {
    return "";
  }
}
