import type { Cell } from '@jupyterlab/notebook';

import type { InputRequest } from './rest';

/** How long an answered box keeps the focus, out of sight, so that keys meant for a next box press nothing. */
const LINGER_MS = 500;

/** The input box of one request in one cell. */
export class InputBox {
  readonly node = document.createElement('div');
  private readonly input = document.createElement('input');
  private cell: Cell | null = null;

  constructor(
    request: InputRequest,
    private readonly submit: (value: string) => Promise<boolean>
  ) {
    this.node.className = 'fps-kernels-stdin jp-Stdin jp-RenderedText';
    this.node.dataset.requestId = request.request_id;
    // JupyterLab's shortcuts see a key first, in the capture phase; this is how to be left out.
    this.node.dataset.lmSuppressShortcuts = 'true';
    const prompt = document.createElement('pre');
    prompt.className = 'jp-Stdin-prompt';
    prompt.textContent = request.prompt;
    this.input.className = 'jp-Stdin-input';
    this.input.type = request.password ? 'password' : 'text';
    this.input.autocomplete = request.password ? 'new-password' : 'off';
    this.input.spellcheck = false;
    this.input.setAttribute('aria-label', request.prompt || 'Input');
    this.node.append(prompt, this.input);
    // The notebook would take the focus away on a key or a click inside a cell.
    for (const type of ['keydown', 'keypress', 'keyup', 'mousedown', 'dblclick']) {
      this.node.addEventListener(type, event => event.stopPropagation());
    }
    this.input.addEventListener('keydown', event => {
      // While an input method composes, Enter chooses a candidate.
      if (event.key === 'Enter' && !event.isComposing) {
        event.preventDefault();
        void this.onEnter();
      }
    });
  }

  /**
   * Put the box under the outputs of a cell. False when the cell has no DOM yet (windowed notebooks).
   *
   * It stands beside the outputs, not among them: they may be cleared, scrolled or collapsed while a
   * kernel waits.
   */
  mount(cell: Cell): boolean {
    const outputs = cell.node.querySelector(':scope > .jp-Cell-outputWrapper');
    if (!outputs) {
      return false;
    }
    if (this.cell !== cell || this.node.parentElement !== cell.node) {
      this.cell = cell;
      outputs.after(this.node);
    }
    return true;
  }

  focus(): void {
    this.input.focus();
  }

  remove(): void {
    if (document.activeElement !== this.input) {
      this.node.remove();
      return;
    }
    this.input.readOnly = true;
    this.node.classList.add('fps-kernels-stdin-done');
    setTimeout(() => {
      const focused = document.activeElement === this.input;
      this.node.remove();
      if (focused && this.cell && !this.cell.isDisposed) {
        this.cell.node.focus({ preventScroll: true });
      }
    }, LINGER_MS);
  }

  private async onEnter(): Promise<void> {
    if (this.input.readOnly) {
      return;
    }
    this.input.readOnly = true;
    if (!(await this.submit(this.input.value))) {
      this.input.readOnly = false;
      this.input.title = 'The server did not take the answer; press Enter to send it again.';
    }
  }
}

/** True for a box that only holds the focus until a next one comes. */
export function isDone(element: Element): boolean {
  return element.closest('.fps-kernels-stdin-done') !== null;
}

export function addStyle(): void {
  const style = document.createElement('style');
  style.textContent = `
.fps-kernels-stdin {
  display: flex;
  align-items: baseline;
  grid-column: 1 / -1;
  margin-left: calc(var(--jp-cell-collapser-width) + var(--jp-cell-prompt-width));
  padding: var(--jp-code-padding);
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size);
}
.fps-kernels-stdin > .jp-Stdin-prompt {
  flex: 0 1 auto;
  font-family: inherit;
  white-space: pre-wrap;
  overflow-wrap: anywhere;
}
.fps-kernels-stdin > .jp-Stdin-input {
  flex: 1 0 200px;
  max-width: 70%;
}
.fps-kernels-stdin-done {
  opacity: 0;
  height: 0;
  padding: 0;
  overflow: hidden;
}`;
  document.head.append(style);
}
