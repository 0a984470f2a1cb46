import type { SessionContext } from '@jupyterlab/notebook';

/** How long a run waits for JupyterLab to begin looking for a kernel, before it asks for one itself. */
const BEGIN_MS = 10_000;

const patient = new WeakSet<SessionContext>();

/**
 * Make cells that are run before the notebook has its kernel wait for it.
 *
 * JupyterLab drops them without a word from the moment it asks for a kernel until the last of four answers has come,
 * and gives them to the kernel before while a notebook changes its kernel. One that is run while JupyterLab still looks
 * whether the notebook has a session asks for a kernel by itself, and is dropped when JupyterLab then finds that very
 * session and connects to it in place of the first connection.
 *
 * Both of its executors ask `hasNoKernel` first, and call `startKernel` at once if so: here that is true while a kernel
 * is looked for, and waits for it.
 */
export function waitForKernel(context: SessionContext): void {
  const known = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(context), 'hasNoKernel')?.get;
  if (!known || patient.has(context)) {
    return; // another JupyterLab, which may need no help; or another view of the same notebook
  }
  patient.add(context);
  const initialize = context.initialize.bind(context);
  const startKernel = context.startKernel.bind(context);
  const changeKernel = context.changeKernel.bind(context);
  let waiting: Array<() => void> = [];
  let looking = 0;
  let running = false; // whether `hasNoKernel` was just read, so that a call of `startKernel` is an executor's

  const done = (): void => {
    looking--;
    if (!looking) {
      waiting.forEach(resolve => resolve());
      waiting = [];
    }
  };
  const track = async <T>(work: Promise<T>): Promise<T> => {
    looking++;
    try {
      return await work;
    } finally {
      done();
    }
  };

  Object.defineProperty(context, 'hasNoKernel', {
    configurable: true,
    get: () => {
      if (!looking) {
        return known.call(context);
      }
      running = true;
      queueMicrotask(() => (running = false));
      return true;
    }
  });
  context.startKernel = async () => {
    if (!looking) {
      return track(startKernel());
    }
    if (!running) {
      return startKernel(); // JupyterLab's own
    }
    running = false;
    await new Promise<void>(resolve => waiting.push(resolve));
    // A failure has a dialog of its own, unless nobody has asked for a kernel.
    return begun || context.session?.kernel ? false : context.startKernel();
  };
  context.changeKernel = options => track(changeKernel(options));

  let begun = Boolean(context.isReady || context.session);
  if (begun) {
    return;
  }
  looking++;
  let timer = window.setTimeout(() => {
    timer = 0;
    done();
  }, BEGIN_MS);
  context.initialize = () => {
    begun = true;
    const initialized = track(initialize());
    if (timer) {
      window.clearTimeout(timer);
      timer = 0;
      done();
    }
    return initialized;
  };
}
