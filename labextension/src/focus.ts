import { NotebookActions, type NotebookPanel } from '@jupyterlab/notebook';

import { isDone } from './box';

/**
 * Tells whether a box that appears may take the focus.
 *
 * Not while someone types elsewhere: in a notebook that is shared, the code may be another person's.
 * The editor that running a cell moved on to does not count until something is typed there.
 */
export class FocusPolicy {
  private typedAt = 0;
  private readonly ranAt = new Map<string, number>();

  constructor() {
    document.addEventListener(
      'keydown',
      event => {
        // The keys that run a cell come before the run itself.
        this.typedAt = event.timeStamp;
      },
      true
    );
    NotebookActions.executionScheduled.connect((_, { cell }) => {
      this.ranAt.set(cell.model.id, performance.now());
    });
  }

  allows(panel: NotebookPanel, cellId: string): boolean {
    const active = document.activeElement;
    if (!panel.isVisible) {
      return false;
    }
    if (!active || isDone(active) || !isEditable(active)) {
      return true;
    }
    const isOtherBox = active.closest('.fps-kernels-stdin') !== null;
    return !isOtherBox && this.typedAt <= (this.ranAt.get(cellId) ?? -1);
  }
}

function isEditable(element: Element): boolean {
  return element.matches('input, textarea, select') || (element as HTMLElement).isContentEditable;
}
