import type { Cell, NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel } from '@jupyterlab/services';

import { InputBox } from './box';
import type { FocusPolicy } from './focus';
import type { InputRequest, StdinClient } from './rest';

/** While something is pending: how soon a box goes that was answered or cancelled elsewhere. */
const POLL_MS = 2_000;

/** How long what asks for a refresh is gathered: a kernel that starts is idle many times. */
const GATHER_MS = 100;

/** When a registration failed: how soon to try again. */
const RETRY_MS = 10_000;

/**
 * Registers this page for one kernel and keeps a box for each pending request in each of its panels.
 *
 * Several panels may have one kernel; each has a connection of its own, and they all tell of the same
 * messages, so refreshing is coalesced.
 */
export class KernelWatcher {
  private readonly panels = new Map<NotebookPanel, Kernel.IKernelConnection>();
  private readonly boxes = new Map<NotebookPanel, Map<string, InputBox>>();
  private readonly answered = new Set<string>();
  private pending: InputRequest[] = [];
  private timer = 0;
  private refreshing = false;
  private again = false;
  private soon = false;
  private registered = false;

  constructor(
    private readonly kernelId: string,
    private readonly client: StdinClient,
    private readonly focus: FocusPolicy
  ) {}

  get isEmpty(): boolean {
    return this.panels.size === 0;
  }

  add(panel: NotebookPanel, kernel: Kernel.IKernelConnection): void {
    this.panels.set(panel, kernel);
    this.boxes.set(panel, new Map());
    kernel.anyMessage.connect(this.onMessage, this);
    kernel.connectionStatusChanged.connect(this.onConnectionStatus, this);
    panel.content.cellInViewportChanged.connect(this.showAll, this);
    this.refresh();
  }

  remove(panel: NotebookPanel): void {
    const kernel = this.panels.get(panel);
    if (!kernel) {
      return;
    }
    kernel.anyMessage.disconnect(this.onMessage, this);
    kernel.connectionStatusChanged.disconnect(this.onConnectionStatus, this);
    panel.content.cellInViewportChanged.disconnect(this.showAll, this);
    this.boxes.get(panel)?.forEach(box => box.remove());
    this.boxes.delete(panel);
    this.panels.delete(panel);
  }

  /** End, without panels. */
  dispose(): void {
    window.clearTimeout(this.timer);
    this.unregister();
  }

  /** Say that this page no longer answers, also while it goes away. */
  unregister(): void {
    if (this.registered) {
      this.registered = false;
      void this.client.unregister(this.kernelId);
    }
  }

  /** Register (again) and show what is pending. */
  refresh(): void {
    this.soon = false;
    if (this.refreshing) {
      this.again = true;
    } else if (!this.isEmpty) {
      void this.update();
    }
  }

  private refreshSoon(): void {
    if (!this.soon) {
      this.soon = true;
      window.clearTimeout(this.timer);
      this.timer = window.setTimeout(() => this.refresh(), GATHER_MS);
    }
  }

  private async update(): Promise<void> {
    window.clearTimeout(this.timer);
    this.soon = false;
    this.refreshing = true;
    const registered = await this.client.register(this.kernelId);
    this.refreshing = false;
    this.registered ||= typeof registered === 'object';
    if (this.isEmpty) {
      // Closed meanwhile, perhaps before the server had registered us.
      this.dispose();
      return;
    }
    let next_ms: number | null = RETRY_MS;
    if (typeof registered === 'object') {
      this.setPending(registered.pending);
      next_ms = this.pending.length ? POLL_MS : (registered.expires_in_s * 1000) / 3;
    } else if (registered !== 'failed') {
      // No such kernel (any more): what makes it come back also reconnects us.
      this.setPending([]);
      next_ms = null;
    }
    if (this.again) {
      this.again = false;
      this.refreshSoon();
    } else if (next_ms !== null && !this.soon) {
      this.timer = window.setTimeout(() => this.refresh(), next_ms);
    }
  }

  private setPending(pending: InputRequest[]): void {
    const ids = new Set(pending.map(request => request.request_id));
    this.answered.forEach(id => ids.has(id) || this.answered.delete(id));
    this.pending = pending.filter(request => !this.answered.has(request.request_id));
    this.showAll();
  }

  /** Make the boxes be those of what is pending. */
  private showAll(): void {
    for (const [panel, boxes] of this.boxes) {
      for (const [id, box] of boxes) {
        if (!this.pending.some(request => request.request_id === id)) {
          box.remove();
          boxes.delete(id);
        }
      }
      for (const request of this.pending) {
        const cell = findCell(panel, request);
        if (cell) {
          this.show(panel, boxes, request, cell);
        }
      }
    }
  }

  private show(
    panel: NotebookPanel,
    boxes: Map<string, InputBox>,
    request: InputRequest,
    cell: Cell
  ): void {
    const id = request.request_id;
    const shown = boxes.get(id);
    const box = shown ?? new InputBox(request, value => this.answer(id, value));
    if (box.mount(cell) && !shown) {
      boxes.set(id, box);
      if (this.focus.allows(panel, request.cell_id)) {
        box.focus();
      }
    }
  }

  private async answer(id: string, value: string): Promise<boolean> {
    const done = await this.client.answer(this.kernelId, id, value);
    if (done) {
      this.answered.add(id);
      this.setPending(this.pending);
    }
    this.refresh();
    return done;
  }

  private onMessage(_: unknown, { msg, direction }: Kernel.IAnyMessageArgs): void {
    if (direction !== 'recv') {
      return;
    }
    const type = msg.header.msg_type;
    const asks = msg.channel === 'stdin' && type === 'input_request';
    const idle = type === 'status' && msg.content.execution_state === 'idle';
    if (asks) {
      this.refresh();
    } else if (idle && this.pending.length) {
      this.refreshSoon();
    }
  }

  private onConnectionStatus(_: unknown, status: Kernel.ConnectionStatus): void {
    if (status === 'connected') {
      this.refresh();
    }
  }
}

/** The cell that asks. A copied notebook has the same cell ids, hence the document's id, where it is known. */
function findCell(panel: NotebookPanel, request: InputRequest): Cell | undefined {
  const documentId = panel.content.model?.sharedModel.getState?.('document_id');
  if (typeof documentId === 'string' && request.document_id && documentId !== request.document_id) {
    return undefined;
  }
  return panel.content.widgets.find(cell => cell.model.id === request.cell_id);
}
