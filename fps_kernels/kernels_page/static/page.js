// The page of kernels: what the server says goes into the table, what the user presses goes to the API.

import { ACTIONS, actOnAll, element, Question } from "./actions.js";
import { bytes, count, duration, percent, rate } from "./format.js";
import { Stream } from "./stream.js";
import { enable, isEnabled, Row, Table } from "./table.js";

const KEEPS = {
  never: "kernels end with it",
  crash: "kernels outlive its crash",
  always: "kernels outlive its end",
};

const $ = (id) => document.getElementById(id);
const table = new Table(update);
const question = new Question();
const stream = new Stream("kernels/events", onEvent, onState);
let server = { may_write: false, notebook_page: "" };
let lastAt = null; // of the last sample, as the server wrote it
let offset = 0; // milliseconds that the server's clock is ahead
let lastSaid = ""; // of the connection
let known = false; // whether there has been a sample

dropToken();
bind();
stream.run();

// A token in the address would stay in the history, and be sent to nobody's use: there is a cookie by now.
function dropToken() {
  const url = new URL(location.href);
  if (!url.searchParams.has("token")) return;
  url.searchParams.delete("token");
  history.replaceState(null, "", url);
}

function bind() {
  $("filter").addEventListener("input", () => {
    table.filter($("filter").value);
    update();
  });
  $("select-all").addEventListener("change", () => {
    for (const row of table.shown) row.select($("select-all").checked);
    update();
  });
  for (const button of $("bulk").querySelectorAll("button")) {
    button.addEventListener("click", () => isEnabled(button) && act(button.dataset.action, selected(), button));
  }
  $("results-close").addEventListener("click", () => {
    $("results").hidden = true;
    $("heading").focus();
  });
}

// --- what the server says ---

function onEvent(name, data) {
  if (name === "server") onServer(data);
  else if (name === "kernels") onKernels(data);
}

function onServer(data) {
  server = data;
  $("bulk").hidden = !data.may_write;
  $("read-only").hidden = data.may_write;
  document.body.classList.toggle("read-only", !data.may_write);
}

function onKernels(data) {
  lastAt = data.at;
  const now = Date.parse(data.at);
  offset = now - Date.now();
  // Maps, as an id may be called as something that every object has.
  const [kernels, sessions] = [data.kernels, data.sessions].map((one) => new Map(Object.entries(one)));
  const gone = data.all ? [...table.rows.keys()].filter((id) => !kernels.has(id)) : data.gone;
  for (const id of gone) {
    question.gone(id);
    if (table.rows.has(id)) table.remove(table.rows.get(id));
  }
  for (const [id, kernel] of kernels) {
    const row = table.rows.get(id);
    if (row) row.kernel = kernel;
    else addRow(kernel, sessions.get(id) ?? []);
  }
  for (const [id, row] of table.rows) {
    const changed = sessions.get(id) ?? (data.all ? [] : row.sessions);
    if (JSON.stringify(row.sessions) !== JSON.stringify(changed)) row.changeSessions(changed);
  }
  for (const row of table.rows.values()) {
    row.draw(now);
    table.hideUnlessFound(row);
  }
  known = true;
  update();
}

function addRow(kernel, sessions) {
  table.add(
    new Row(
      kernel,
      sessions,
      server.notebook_page,
      (action, row) => act(action, [row], row.buttons.find((one) => one.dataset.action === action)),
      (row, chosen) => {
        row.select(chosen);
        update();
      },
    ),
  );
}

function onState(state, message, status) {
  document.body.classList.toggle("stale", state !== "live" && known);
  const said = [state, message, status].join(" ");
  if (said === lastSaid) return; // each time that it is said anew, it is read aloud, and its link loses the focus
  lastSaid = said;
  $("connection").dataset.state = state;
  const text = $("connection-text");
  const since = lastAt === null ? "" : ` What you see is of ${new Date(Date.parse(lastAt) - offset).toLocaleTimeString()}.`;
  if (state === "live") text.textContent = "Live";
  else if (state === "lost") text.textContent = `The server does not answer. Trying again…${since}`;
  else if (status === 401 || status === 403) {
    const again = element("a", "Log in again");
    again.href = "kernels";
    text.replaceChildren(`You may not see this any more${message ? ` (${message})` : ""}. `, again, `.${since}`);
  } else text.textContent = `${message || `The server answers with status ${status}`}. Trying again…${since}`;
}

// --- what is shown above the table ---

function update() {
  const rows = [...table.rows.values()];
  const kernels = rows.map((row) => row.kernel);
  const sum = (name) => kernels.reduce((total, one) => total + (one[name] ?? 0), 0);
  const measured = kernels.some((one) => one.memory_bytes !== null);
  set("total-kernels", String(kernels.length));
  set("total-busy", String(kernels.filter((one) => one.state === "busy").length));
  set("total-clients", String(sum("clients")));
  set("total-memory", measured || !kernels.length ? bytes(sum("memory_bytes")) : "—");
  set("total-cpu", measured || !kernels.length ? percent(sum("cpu_percent")) : "—");
  set("total-messages", rate(Math.round(10 * sum("messages_per_s")) / 10));
  document.title = known ? `Kernels (${kernels.length})` : "Kernels";
  if (known) {
    const up = duration(Date.parse(lastAt) - Date.parse(server.started));
    const keeper = server.keeper_pid ? `, held by keeper process ${server.keeper_pid}` : "";
    set("server", `Server process ${server.pid}, up ${up} · ${KEEPS[server.keeps]}${keeper} · fps_kernels ${server.version}`);
  }
  const shown = table.shown;
  $("kernels").hidden = known && !shown.length;
  $("empty").hidden = !known || shown.length > 0;
  set("empty-title", kernels.length ? "No kernel is found" : "No kernels are running");
  set("empty-text", kernels.length ? "Change the filter to see the others." : "A kernel that is started shows up here by itself.");
  const chosen = selected();
  set("selected", chosen.length ? `${chosen.length} selected` : "Select all");
  $("select-all").checked = shown.length > 0 && chosen.length === shown.length;
  $("select-all").indeterminate = chosen.length > 0 && chosen.length < shown.length;
  $("select-all").disabled = !shown.length;
  for (const button of $("bulk").querySelectorAll("button")) {
    enable(button, chosen.some((row) => row.kernel.actions.includes(button.dataset.action)));
  }
}

function set(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

// Those that are selected and not hidden by the filter.
function selected() {
  return table.shown.filter((row) => row.selected);
}

// --- what the user presses ---

// opener: gets the focus back.
async function act(action, rows, opener) {
  const possible = rows.filter((row) => row.kernel.actions.includes(action));
  const yes = await question.ask(action, possible.map((row) => [row.kernel.id, row.kernel.display_name, row.detail]));
  if (opener.isConnected) opener.focus();
  else $("heading").focus();
  if (!yes) return;
  const results = new Map(possible.map((row) => [row.kernel.id, startResult(row)]));
  $("results-list").replaceChildren(...results.values());
  set("results-title", `${ACTIONS[action].verb}: ${count(possible.length, "kernel", "kernels")}…`);
  $("results").hidden = false;
  let failures = 0;
  for (const row of possible) row.work(true);
  await actOnAll(action, [...results.keys()], (id, result) => {
    failures += result.failed;
    const line = results.get(id);
    line.lastChild.textContent = result.text;
    line.lastChild.className = result.failed ? "failed" : "done";
    const row = table.rows.get(id);
    row?.work(false);
    row?.select(false);
    update();
  });
  for (const row of rows) if (!possible.includes(row)) $("results-list").append(startResult(row, "Not possible for this kernel"));
  const done = possible.length - failures;
  set(
    "results-title",
    failures ? `${ACTIONS[action].done}: ${done} of ${count(possible.length, "kernel", "kernels")}` : `${ACTIONS[action].done}: ${count(done, "kernel", "kernels")}`,
  );
}

function startResult(row, text = "…") {
  const line = document.createElement("li");
  line.append(element("strong", row.kernel.display_name), element("span", row.detail, "muted"), element("span", text));
  return line;
}
