// The rows. Their elements are made once, and changed where they differ, so that focus and place stay.

import { ACTIONS, element } from "./actions.js";
import { ago, bytes, duration, local, percent, rate } from "./format.js";

const POINTS = 60;
const WIDTH = 100;
const HEIGHT = 28;
const ORDER = ["busy", "starting", "restarting", "unresponsive", "idle", "terminating", "dead"];
const OUTLIVES = {
  no: ["no", "It ends with the server"],
  crash: ["a crash", "It goes on when the server crashes, and ends when the server is stopped"],
  always: ["always", "It goes on when the server crashes or is stopped"],
};
const UNKNOWN = "—";

const KEYS = {
  started: (row) => row.kernel.started,
  name: (row) => row.kernel.display_name.toLowerCase(),
  state: (row) => ORDER.indexOf(row.kernel.state),
  session: (row) => row.sessions.map((one) => one.path).join("\n").toLowerCase() || "\uffff",
  activity: (row) => row.kernel.last_activity,
  clients: (row) => row.kernel.clients,
  memory: (row) => row.kernel.memory_bytes ?? -1,
  cpu: (row) => row.kernel.cpu_percent ?? -1,
  messages: (row) => row.kernel.messages_per_s,
};
const LARGEST_FIRST = new Set(["activity", "clients", "memory", "cpu", "messages"]);

export class Row {
  // onAct(action, row), onSelect(row, selected).
  constructor(kernel, sessions, notebookPage, onAct, onSelect) {
    this.kernel = kernel;
    this.sessions = sessions;
    this.notebookPage = notebookPage;
    this.rates = [];
    this.selected = false;
    this.working = false;
    const content = document.getElementById("row").content.cloneNode(true);
    this.element = content.firstElementChild;
    this.parts = Object.fromEntries([...this.element.querySelectorAll("[data-part]")].map((one) => [one.dataset.part, one]));
    this.buttons = [...this.element.querySelectorAll("button[data-action]")];
    this.parts.select.addEventListener("change", () => onSelect(this, this.parts.select.checked));
    for (const button of this.buttons) button.addEventListener("click", () => isEnabled(button) && onAct(button.dataset.action, this));
    this.element.dataset.kernel = kernel.id;
    set(this.parts["id-head"], kernel.id.slice(0, 8));
    set(this.parts["id-rest"], kernel.id.slice(8));
    this.parts.id.title = kernel.id;
    this.drawSessions();
  }

  get label() {
    return `${this.kernel.display_name} (${this.kernel.id.slice(0, 8)})`;
  }

  get detail() {
    return this.sessions.map((one) => one.path).join(", ") || this.kernel.id.slice(0, 8);
  }

  get haystack() {
    const { id, name, display_name, state, reason } = this.kernel;
    return [id, name, display_name, state, reason, ...this.sessions.map((one) => one.path)].join("\n").toLowerCase();
  }

  changeSessions(sessions) {
    this.sessions = sessions;
    this.drawSessions();
  }

  select(selected) {
    this.selected = selected;
    this.parts.select.checked = selected;
    this.element.toggleAttribute("data-selected", selected);
  }

  work(working) {
    this.working = working;
    this.element.setAttribute("aria-busy", String(working));
  }

  // One sample. now: milliseconds by the server's clock.
  draw(now) {
    const { kernel, parts } = this;
    this.rates.push(kernel.messages_per_s);
    if (this.rates.length > POINTS) this.rates.shift();
    set(parts.name, kernel.display_name);
    parts.name.title = kernel.name;
    parts.select.ariaLabel = `Select ${this.label}`;
    if (this.element.dataset.state !== kernel.state) this.element.dataset.state = kernel.state;
    set(parts.state, kernel.state);
    parts.state.title = `since ${local(kernel.since)}`;
    parts.reason.hidden = !kernel.reason;
    set(parts.reason, kernel.reason);
    parts.reason.title = kernel.reason;
    when(parts.activity, kernel.last_activity, ago(now - Date.parse(kernel.last_activity)));
    when(parts.started, kernel.started, duration(now - Date.parse(kernel.started)));
    set(parts.clients, String(kernel.clients));
    number(parts.memory, kernel.memory_bytes, bytes, kernel.usage_note);
    number(parts.cpu, kernel.cpu_percent, percent, kernel.usage_note);
    const processes = kernel.processes > 1 ? `, with ${kernel.processes - 1} more of its own` : "";
    if (kernel.memory_bytes !== null) parts.memory.title = `Process ${kernel.pid}${processes}. ${kernel.usage_note}`.trim();
    set(parts.messages, rate(kernel.messages_per_s));
    const [outlives, meaning] = OUTLIVES[kernel.outlives];
    set(parts.outlives, kernel.external ? "external" : outlives);
    parts.outlives.title = kernel.external ? "It was started elsewhere, and does not depend on the server" : meaning;
    parts.outlives.dataset.outlives = kernel.outlives;
    this.drawChart();
    for (const button of this.buttons) {
      const { verb } = ACTIONS[button.dataset.action];
      enable(button, kernel.actions.includes(button.dataset.action) && !this.working);
      button.ariaLabel = `${verb} ${this.label}`;
      button.title = verb;
    }
  }

  drawChart() {
    const most = Math.max(1, ...this.rates);
    const step = WIDTH / (POINTS - 1);
    const left = WIDTH - (this.rates.length - 1) * step;
    const points = this.rates.map((one, i) => `${(left + i * step).toFixed(1)} ${(HEIGHT - 1.5 - (one / most) * (HEIGHT - 4)).toFixed(1)}`);
    const line = points.length > 1 ? `M${points.join("L")}` : `M${WIDTH - 0.1} ${HEIGHT - 1.5}H${WIDTH}`;
    this.parts.line.setAttribute("d", line);
    this.parts.area.setAttribute("d", `${line}V${HEIGHT}H${left.toFixed(1)}Z`);
  }

  drawSessions() {
    const shown = this.sessions.map((session) => {
      const line = document.createElement("div");
      const words = session.path.split("/");
      const climbs = words.includes(".") || words.includes(".."); // to other pages of the server
      if (session.type === "notebook" && this.notebookPage && !climbs) {
        const link = path(session.path, "a");
        link.href = this.notebookPage + words.map(encodeURIComponent).join("/");
        link.target = "_blank";
        link.rel = "noopener noreferrer";
        line.append(link);
      } else {
        line.append(path(session.path, "span"));
        if (session.type !== "notebook") line.append(" ", element("span", session.type, "kind"));
      }
      return line;
    });
    this.parts.sessions.replaceChildren(...(shown.length ? shown : [element("span", UNKNOWN, "muted")]));
  }
}

export class Table {
  constructor(onSort) {
    this.body = document.getElementById("rows");
    this.rows = new Map();
    this.key = "started";
    this.ascending = true;
    this.words = "";
    const select = document.getElementById("sort");
    this.headers = [...document.querySelectorAll("th[data-sort]")];
    for (const header of this.headers) {
      header.querySelector("button").addEventListener("click", () => {
        const { sort } = header.dataset;
        this.sort(sort, sort === this.key ? !this.ascending : !LARGEST_FIRST.has(sort));
        select.value = sort;
        onSort();
      });
    }
    select.addEventListener("change", () => {
      this.sort(select.value, !LARGEST_FIRST.has(select.value));
      onSort();
    });
  }

  get shown() {
    return [...this.rows.values()].filter((row) => !row.element.hidden);
  }

  add(row) {
    this.rows.set(row.kernel.id, row);
    const after = [...this.body.children].find((one) => this.compare(row, this.rows.get(one.dataset.kernel)) < 0);
    this.body.insertBefore(row.element, after ?? null);
  }

  // Take a row away. The focus moves to the next one, if it was in this one.
  remove(row) {
    const { element: gone } = row;
    if (gone.contains(document.activeElement)) {
      const near = gone.nextElementSibling ?? gone.previousElementSibling;
      (near?.querySelector("input:not([disabled])") ?? document.getElementById("heading")).focus();
    }
    gone.remove();
    this.rows.delete(row.kernel.id);
  }

  // Rows get their places now, and keep them until the user sorts again, however their numbers change.
  sort(key, ascending) {
    this.key = key;
    this.ascending = ascending;
    for (const header of this.headers) {
      if (header.dataset.sort === key) header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      else header.removeAttribute("aria-sort");
    }
    const sorted = [...this.rows.values()].sort((one, other) => this.compare(one, other));
    this.body.append(...sorted.map((row) => row.element));
  }

  compare(one, other) {
    const [a, b] = [KEYS[this.key](one), KEYS[this.key](other)];
    if (a !== b) return a < b === this.ascending ? -1 : 1;
    return one.kernel.started < other.kernel.started ? -1 : 1;
  }

  filter(words) {
    this.words = words.trim().toLowerCase();
    for (const row of this.rows.values()) this.hideUnlessFound(row);
  }

  hideUnlessFound(row) {
    const hidden = !row.haystack.includes(this.words);
    if (row.element.hidden !== hidden && !row.element.contains(document.activeElement)) row.element.hidden = hidden;
  }
}

// Not `disabled`, by which a button that has the focus would lose it.
export function enable(button, possible) {
  if (isEnabled(button) !== possible) button.ariaDisabled = String(!possible);
}

export function isEnabled(button) {
  return button.ariaDisabled !== "true";
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function when(node, date, text) {
  set(node, text);
  if (node.dateTime !== date) {
    node.dateTime = date;
    node.title = local(date);
  }
}

// A path, which may be broken after each folder.
function path(text, tag) {
  const made = document.createElement(tag);
  made.append(...text.split(/(?<=\/)/).flatMap((word) => [document.createElement("wbr"), word]).slice(1));
  return made;
}

// A number, or why there is none.
function number(node, value, format, note) {
  set(node, value === null ? UNKNOWN : format(value));
  node.classList.toggle("unknown", value === null);
  node.title = value === null ? note : "";
}
