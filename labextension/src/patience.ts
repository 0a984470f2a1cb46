import type { SessionContext } from '@jupyterlab/notebook';

/**
 * Make cells that are run before the notebook has its kernel wait for it.
 *
 * JupyterLab drops them without a word from the moment it asks for a kernel until the last of four answers has come,
 * and gives them to the kernel before while a notebook changes its kernel. Both of its executors ask `hasNoKernel`
 * first, and await `startKernel` if so: here that is true while a kernel is asked for, and waits for it.
 */
export function waitForKernel(context: SessionContext): void {
  const known = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(context), 'hasNoKernel')?.get;
  if (!known) {
    return; // another JupyterLab, which may need no help
  }
  const startKernel = context.startKernel.bind(context);
  const changeKernel = context.changeKernel.bind(context);
  let waiting: Array<() => void> = [];
  let asked = 0;

  const track = async <T>(work: Promise<T>): Promise<T> => {
    asked++;
    try {
      return await work;
    } finally {
      asked--;
      if (!asked) {
        waiting.forEach(resolve => resolve());
        waiting = [];
      }
    }
  };

  Object.defineProperty(context, 'hasNoKernel', {
    configurable: true,
    get: () => asked > 0 || known.call(context)
  });
  context.startKernel = async () => {
    if (!asked) {
      return track(startKernel());
    }
    await new Promise<void>(resolve => waiting.push(resolve));
    return false; // a failure has a dialog of its own
  };
  context.changeKernel = options => track(changeKernel(options));
}
