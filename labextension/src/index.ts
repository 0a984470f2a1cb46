import { PageConfig } from '@jupyterlab/coreutils';
import { INotebookTracker, NotebookActions, type NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel } from '@jupyterlab/services';

import { addStyle } from './box';
import { FocusPolicy } from './focus';
import { waitForKernel } from './patience';
import { StdinClient } from './rest';
import { KernelWatcher } from './watcher';

/**
 * What a page needs besides: patience until a notebook has its kernel and, when the server executes code, an input box
 * and trust in what the user runs.
 */
const plugin = {
  id: '@fps-kernels/stdin:plugin',
  description: 'Runs cells that do not wait for their kernel, and answers input requests of code that the server executes.',
  autoStart: true,
  requires: [INotebookTracker],
  activate: (_app: unknown, tracker: INotebookTracker): void => {
    tracker.forEach(panel => waitForKernel(panel.sessionContext));
    tracker.widgetAdded.connect((_, panel) => waitForKernel(panel.sessionContext));
    if (PageConfig.getOption('serverSideExecution') !== 'true') {
      return;
    }
    addStyle();
    trustWhatIsRun();
    const page = new Page();
    tracker.forEach(panel => page.add(panel));
    tracker.widgetAdded.connect((_, panel) => page.add(panel));
  }
};

/**
 * Trust the outputs of a cell that the user runs, as JupyterLab does when it runs the cell itself: else widgets and
 * plots are shown as plain text. The server trusts nobody's outputs: its documents are for all.
 */
function trustWhatIsRun(): void {
  NotebookActions.executionScheduled.connect((_, { cell }) => {
    cell.model.trusted = true;
  });
}

/** The kernels of this page's notebooks. */
class Page {
  private readonly client = new StdinClient();
  private readonly focus = new FocusPolicy();
  private readonly watchers = new Map<string, KernelWatcher>();
  private readonly kernels = new Map<NotebookPanel, Kernel.IKernelConnection>();

  constructor() {
    window.addEventListener('pagehide', () => this.watchers.forEach(watcher => watcher.unregister()));
    // A hidden page's timers may have been held back for longer than a registration lasts.
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') {
        this.watchers.forEach(watcher => watcher.refresh());
      }
    });
  }

  add(panel: NotebookPanel): void {
    const follow = (): void => this.follow(panel);
    panel.sessionContext.kernelChanged.connect(follow);
    panel.disposed.connect(follow);
    panel.sessionContext.ready.then(follow, () => undefined);
    follow();
  }

  /** Watch the kernel that a panel has now, and not the one it had. */
  private follow(panel: NotebookPanel): void {
    const kernel = panel.isDisposed ? null : (panel.sessionContext.session?.kernel ?? null);
    const previous = this.kernels.get(panel) ?? null;
    if (kernel === previous) {
      return;
    }
    if (previous) {
      this.kernels.delete(panel);
      this.watchers.get(previous.id)?.remove(panel);
    }
    if (kernel && !kernel.isDisposed) {
      const watcher = this.watchers.get(kernel.id) ?? new KernelWatcher(kernel.id, this.client, this.focus);
      this.watchers.set(kernel.id, watcher);
      this.kernels.set(panel, kernel);
      watcher.add(panel, kernel);
    }
    // Last, so that a new connection to the same kernel does not end what it goes on with.
    if (previous && this.watchers.get(previous.id)?.isEmpty) {
      this.watchers.get(previous.id)?.dispose();
      this.watchers.delete(previous.id);
    }
  }
}

export default plugin;
