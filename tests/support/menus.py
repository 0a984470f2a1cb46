"""What each item of JupyterLab's menus does, on any server, so that two of them can be compared."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from playwright.async_api import ConsoleMessage, Error, Page, Response

from .waits import until

ANSWER_TIMEOUT_MS = 20_000
"""For one command, on a busy machine. One that has no end by then, such as Print, is `without end`."""

CLOSED_EARLY = "Canceled future for"
"""What the page says where a tab is closed while it asks its kernel something: on either server, at random."""

FIND_ITEMS = """(menu) => {
  const found = [];
  const walk = (menu, path) => {
    for (const item of menu.items) {
      if (item.type === "submenu") walk(item.submenu, [...path, item.submenu.title.label]);
      else if (item.type === "command") found.push([[...path, item.label].join(" > "), item]);
    }
  };
  walk(menu, []);
  window.foundItems = found.map(([_, item]) => item);
  return found.map(([name, {command, isEnabled, isVisible, isToggled}], number) => (
    {name, command, enabled: isEnabled, visible: isVisible, toggled: isToggled, number}
  ));
}"""
MENU_BAR = """{
  items: [...jupyterapp.shell.widgets("menu")].find(widget => widget.menus).menus.map(
    submenu => ({type: "submenu", submenu})
  )
}"""

EXECUTE = """async ([index, timeout]) => {
  let observer;
  const mayAsk = ".jp-Dialog, .jp-DirListing-editor";
  const asked = new Promise(resolve => {
    observer = new MutationObserver(() => document.querySelector(mayAsk) && resolve("asks"));
    observer.observe(document.body, {childList: true, subtree: true});
  });
  let ended = jupyterapp.commands.execute(foundItems[index].command, foundItems[index].args);
  ended = ended.then(() => "ends", error => `fails: ${error.message ?? error}`);
  window.lastCommand = ended;
  try {
    return await Promise.race([asked, ended, new Promise(resolve => setTimeout(resolve, timeout, "without end"))]);
  } finally {
    observer.disconnect();
  }
}"""

EXPOSE = """
document.addEventListener("readystatechange", () => {
  const element = document.getElementById("jupyter-config-data");
  if (document.readyState !== "interactive" || !element) return;
  const config = JSON.parse(element.textContent);
  config.exposeAppInBrowser = true;
  element.textContent = JSON.stringify(config);
});
window.openedUrls = [];
window.open = url => {
  const note = (url) => url && openedUrls.push(new URL(url, document.baseURI).href);
  note(url);
  const location = {set href(url) { note(url); }};
  return {close() {}, focus() {}, document, get location() { return location; }, set location(url) { note(url); }};
};
window.print = () => {};
"""
"""What the page runs first. Other windows are noted, not opened: a page behind one is slowed down by the browser."""

TABS = "[...jupyterapp.shell.widgets('main')].map(tab => tab.title.label)"
KEEP_ONLY = """async (path) => {
  document.activeElement?.blur?.();
  const tab = await jupyterapp.commands.execute("docmanager:open", {path});
  for (const other of [...jupyterapp.shell.widgets("main")]) if (other !== tab) other.dispose();
  for (const area of ["left", "right", "down"]) {
    for (const moved of [...jupyterapp.shell.widgets(area)]) if (moved.context) moved.dispose();
  }
  await tab.context.ready;
  await tab.sessionContext.ready;
  const status = tab.sessionContext.session?.kernel?.status;
  if (!status || status === "dead") await tab.sessionContext.changeKernel({name: "python3"});
  await tab.sessionContext.session?.kernel?.info;  // the page adds the language to the notebook
  window.firstContent ??= tab.context.model.toJSON();
  tab.context.model.fromJSON(window.firstContent);
  tab.context.model.dirty = false;
  jupyterapp.shell.activateById("filebrowser");
  jupyterapp.shell.activateById(tab.id);
}"""
"""Closes all tabs but that of one file, without a question, and opens that if it is not there."""
IS_IDLE = """(path) => {
  const [tab, ...others] = jupyterapp.shell.widgets("main");
  return tab?.context?.path === path && !others.length && tab.sessionContext.session?.kernel?.status === "idle";
}"""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a menu. name: with those of the menus that it is in. number: in the menu that was read last."""

    name: str
    command: str
    enabled: bool
    visible: bool
    toggled: bool
    number: int

    @property
    def key(self) -> str:
        return f"{self.name} ({self.command})"


@dataclass(slots=True)
class Effect:
    """What is seen of a command.

    end: `ends`, `asks`, `fails: …`. dialogs: their titles and buttons. tabs: the main area's, afterwards. refused: the
    requests with their statuses. errors: of the console. opened: URLs of new windows, with what answers them.
    downloads: names of files. said: notifications.
    """

    end: str = ""
    dialogs: list[str] = dataclasses.field(default_factory=list)
    tabs: list[str] = dataclasses.field(default_factory=list)
    refused: list[str] = dataclasses.field(default_factory=list)
    errors: list[str] = dataclasses.field(default_factory=list)
    opened: list[str] = dataclasses.field(default_factory=list)
    downloads: list[str] = dataclasses.field(default_factory=list)
    said: list[str] = dataclasses.field(default_factory=list)


class MenuPage:
    """A page of JupyterLab whose commands are run one after the other, with one notebook open.

    root: the URL of the server. path: of the notebook.
    """

    def __init__(self, page: Page, root: str, path: str) -> None:
        self.page = page
        self.root = root
        self.path = path
        self.seen = Effect()
        self.loads = 0
        self._in_flight: Counter[str] = Counter()
        page.on("console", self._on_console)
        page.on("pageerror", self._on_page_error)
        page.on("response", self._on_response)
        page.on("request", lambda request: self._in_flight.update([request.url]))
        page.on("requestfinished", lambda request: self._in_flight.subtract([request.url]))
        page.on("requestfailed", lambda request: self._in_flight.subtract([request.url]))
        page.on("download", lambda download: self.seen.downloads.append(download.suggested_filename))
        page.on("load", self._on_load)
        page.on("dialog", self._on_browser_dialog)

    def _normal(self, text: str) -> str:
        """Without what differs between two servers, or two runs."""
        text = unquote(text.replace(self.root, ""))
        text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", text)
        text = re.sub(r"(&|\?)_xsrf=[^& ]+", "", text)
        return re.sub(r"\b\d{13}\b", "TIME", text)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._note_error(f"{message.text} {urlsplit(message.location['url']).path}")

    def _on_page_error(self, error: Error) -> None:
        self._note_error(f"uncaught: {error}")

    def _note_error(self, text: str) -> None:
        """Once, and without the server's words."""
        if CLOSED_EARLY in text:
            return
        text = re.sub(r"a status of (\d+) \([^)]*\)", r"a status of \1", self._normal(text))
        text = re.sub(r"^(Failed to initialize the context with '\w+' for \S+).*", r"\1", text, flags=re.DOTALL)[:200]
        if text not in self.seen.errors:
            self.seen.errors.append(text)

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            where = urlsplit(response.url)
            self.seen.refused.append(self._normal(f"{response.status} {response.request.method} {where.path}"))

    async def _ask_for_opened(self) -> None:
        """Ask for what was to be opened in another window, if it is of the server."""
        for url in await self.page.evaluate("openedUrls.splice(0)"):
            if not url.startswith(self.root):
                self.seen.opened.append(url)
                continue
            answer = await self.page.context.request.get(url, headers={"Referer": f"{self.root}/lab"}, timeout=60_000)
            kind = answer.headers.get("content-disposition") or answer.headers.get("content-type", "")
            kind = kind.lower() if answer.ok else ""  # a reason may be JSON, or HTML
            self.seen.opened.append(f"{answer.status} {self._normal(url)} {kind}")

    def _on_load(self, _: Page) -> None:
        self.loads += 1

    async def _on_browser_dialog(self, dialog: Any) -> None:
        self.seen.dialogs.append(f"the browser's: {dialog.message[:60]}")
        await dialog.accept()

    async def open(self) -> None:
        """Load the page with the notebook, in a workspace of its own."""
        await self.page.goto(f"{self.root}/lab/workspaces/walk?reset")
        await self.page.wait_for_function("window.jupyterapp && jupyterapp.restored")
        await self.page.evaluate("jupyterapp.restored.then(() => true)")
        await self.page.locator(".jp-Launcher").wait_for()
        await self.tidy()

    async def tidy(self) -> None:
        """Have nothing open but the notebook, and its kernel idle."""
        for _ in range(5):
            dialog = self.page.locator(".jp-Dialog").first
            if not await dialog.is_visible():
                break
            await self._dismiss()
        await self.page.keyboard.press("Escape")

        async def is_idle() -> bool:
            try:
                await self.page.evaluate(KEEP_ONLY, self.path)
            except Error:  # a command closes the tab a little later
                return False
            return bool(await self.page.evaluate(IS_IDLE, self.path))

        await until(is_idle, every_s=0.1)

    async def _dismiss(self) -> None:
        """Answer the dialog in front with no; what can only be agreed to is."""
        dialog = self.page.locator(".jp-Dialog").last
        no = dialog.locator(".jp-Dialog-button.jp-mod-reject")
        handle = await dialog.element_handle()
        assert handle is not None
        if await no.count():
            await no.first.click()
        elif await dialog.locator(".jp-Dialog-close-button").count():
            await dialog.locator(".jp-Dialog-close-button").click()
        else:
            await dialog.locator(".jp-Dialog-button").last.click()
        await self.page.wait_for_function("dialog => !dialog.isConnected", arg=handle)

    async def main_menu(self) -> list[Item]:
        """All items of the main menu, as they are now."""
        return self._items(await self.page.evaluate(f"({FIND_ITEMS})({MENU_BAR})"))

    async def context_menu(self, selector: str) -> list[Item]:
        """The items of the context menu of an element, which is left selected."""
        await self.page.locator(selector).first.click(button="right")
        found = self._items(await self.page.evaluate(f"({FIND_ITEMS})(jupyterapp.contextMenu.menu)"))
        await self.page.evaluate("jupyterapp.contextMenu.menu.close()")
        return found

    @staticmethod
    def _items(found: list[dict[str, Any]]) -> list[Item]:
        return [Item(**one) for one in found]

    async def execute(self, item: Item) -> Effect:
        """What the command of an item does; the dialogs that it shows are answered with no."""
        self.seen = seen = Effect()
        loads = self.loads
        try:
            seen.end = await self.page.evaluate(EXECUTE, [item.number, ANSWER_TIMEOUT_MS])
        except Error as exc:
            seen.end = "leaves the page" if "context was destroyed" in str(exc) else f"fails: {exc}"
        if not seen.end.startswith("leaves"):
            await self._answer_dialogs()
        await self.settled()
        if self.loads == loads and not seen.end.startswith("leaves"):
            await self._answer_dialogs()  # which came with the answer to a request
        if self.loads > loads or seen.end.startswith("leaves"):
            seen.end = "leaves the page"
            await self.page.wait_for_load_state()
            seen.tabs = [self._normal(urlsplit(self.page.url).path)]
            return seen
        await self._ask_for_opened()
        seen.tabs = [self._normal(tab) for tab in await self.page.evaluate(TABS)]
        toasts = await self.page.locator(".Toastify__toast").all_inner_texts()
        seen.said = [self._normal(toast) for toast in toasts]
        return seen

    async def _answer_dialogs(self) -> None:
        """Note what is asked, up to a few questions."""
        while await self.page.locator(".jp-Dialog").count() and len(self.seen.dialogs) <= 5:
            dialog = self.page.locator(".jp-Dialog").last
            title = await dialog.locator(".jp-Dialog-header").all_inner_texts()
            buttons = await dialog.locator(".jp-Dialog-buttonLabel").all_inner_texts()
            self.seen.dialogs.append(f"{' '.join(title)} [{', '.join(buttons)}]")
            await self._dismiss()

    async def settled(self) -> None:
        """Until no request is on its way, after the page has had some turns to begin one."""
        turn = "() => new Promise(end => setTimeout(() => setTimeout(end, 20), 20))"
        quiet_turns = 0

        async def quiet() -> bool:
            nonlocal quiet_turns
            try:
                await self.page.evaluate(turn)
            except Error:  # the page has gone
                return True
            quiet_turns = 0 if any(self._in_flight.values()) else quiet_turns + 1
            return quiet_turns >= 3

        try:
            await until(quiet, 20)
        except TimeoutError:
            self.seen.errors.append(f"still asks: {[self._normal(url) for url in +self._in_flight]}")
