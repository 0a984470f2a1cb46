// What the page does to kernels, by the API that all clients use, and the question before it.

import { count } from "./format.js";
import { reason } from "./stream.js";

const AT_A_TIME = 6;
const TIMEOUT_MS = 120_000;

export const ACTIONS = {
  interrupt: {
    verb: "Interrupt",
    done: "Interrupted",
    warning: "What runs now stops with a KeyboardInterrupt. Variables stay.",
    request: (id) => ["POST", `api/kernels/${id}/interrupt`],
  },
  restart: {
    verb: "Restart",
    done: "Restarted",
    warning: "All variables are lost, and what runs now stops. The notebook stays connected.",
    request: (id) => ["POST", `api/kernels/${id}/restart`],
  },
  shutdown: {
    verb: "Shut down",
    done: "Shut down",
    warning: "All variables are lost, and what runs now stops.",
    request: (id) => ["DELETE", `api/kernels/${id}`],
  },
};

// The value that a page of this server has to send again with each change.
function xsrf() {
  const found = document.cookie.split("; ").find((pair) => pair.startsWith("_xsrf="));
  return found ? { "X-XSRFToken": decodeURIComponent(found.slice("_xsrf=".length)) } : {};
}

// { failed, text }: never throws.
async function act(action, id) {
  const [method, path] = ACTIONS[action].request(encodeURIComponent(id));
  try {
    const response = await fetch(path, { method, headers: xsrf(), signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (response.ok) return { failed: false, text: ACTIONS[action].done };
    if (response.status === 404) return { failed: true, text: "Not there any more: it has ended meanwhile" };
    const why = await reason(response);
    if (response.status === 401 || response.status === 403) {
      return { failed: true, text: `Not allowed${why ? `: ${why}` : ""}` };
    }
    return { failed: true, text: why || `The server answered with status ${response.status}` };
  } catch (error) {
    const late = error.name === "TimeoutError";
    return { failed: true, text: late ? "No answer within two minutes" : "The server could not be reached" };
  }
}

// Act on kernels, a few at a time. onResult(id, result): called for each, as it comes.
export async function actOnAll(action, ids, onResult) {
  const waiting = [...ids];
  async function work() {
    while (waiting.length) {
      const id = waiting.shift();
      onResult(id, await act(action, id));
    }
  }
  await Promise.all(Array.from({ length: Math.min(AT_A_TIME, ids.length) }, work));
}

// The dialog. Its list shows which of the kernels end while it is open.
export class Question {
  constructor() {
    this.dialog = document.getElementById("confirm");
    this.list = document.getElementById("confirm-kernels");
    this.items = new Map();
    this.yes = document.getElementById("confirm-yes");
    document.getElementById("confirm-no").addEventListener("click", () => this.dialog.close("no"));
    this.yes.addEventListener("click", () => this.dialog.close("yes"));
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog && !inside(event, this.dialog)) this.dialog.close("no");
    });
  }

  // Whether to go on. kernels: [id, name, detail] of each.
  ask(action, kernels) {
    const { verb, warning } = ACTIONS[action];
    document.getElementById("confirm-title").textContent =
      kernels.length === 1 ? `${verb} this kernel?` : `${verb} ${count(kernels.length, "kernel", "kernels")}?`;
    document.getElementById("confirm-text").textContent = warning;
    this.yes.textContent = verb;
    this.yes.className = action === "interrupt" ? "" : "danger";
    this.items = new Map(kernels.map(([id, ...texts]) => [id, item(...texts)]));
    this.list.replaceChildren(...this.items.values());
    this.dialog.returnValue = "no";
    this.dialog.showModal();
    document.getElementById("confirm-no").focus();
    return new Promise((resolve) => {
      this.dialog.addEventListener("close", () => resolve(this.dialog.returnValue === "yes"), { once: true });
    });
  }

  gone(id) {
    const found = this.items.get(id);
    if (!this.dialog.open || !found || found.className) return;
    found.className = "gone";
    found.append(element("span", "has ended"));
  }
}

function inside(event, dialog) {
  const box = dialog.getBoundingClientRect();
  return event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
}

function item(name, detail) {
  const made = document.createElement("li");
  made.append(element("strong", name), element("span", detail, "muted"));
  return made;
}

// Text is always set as text: kernels are called as their users like.
export function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}
