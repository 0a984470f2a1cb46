// The few parts of JupyterLab 4 that we use, so that building needs none of its packages.

declare module '@jupyterlab/coreutils' {
  export namespace PageConfig {
    function getOption(name: string): string;
  }
  export namespace URLExt {
    function join(...parts: string[]): string;
  }
}

declare module '@jupyterlab/services' {
  export interface ISignal<Sender, Args> {
    connect(slot: (sender: Sender, args: Args) => void, thisArg?: unknown): boolean;
    disconnect(slot: (sender: Sender, args: Args) => void, thisArg?: unknown): boolean;
  }

  export namespace Kernel {
    type ConnectionStatus = 'connected' | 'connecting' | 'disconnected';
    interface IMessage {
      channel: string;
      header: { msg_type: string };
      content: { execution_state?: string };
    }
    interface IAnyMessageArgs {
      msg: IMessage;
      direction: 'send' | 'recv';
    }
    interface IKernelConnection {
      readonly id: string;
      readonly isDisposed: boolean;
      readonly connectionStatus: ConnectionStatus;
      readonly connectionStatusChanged: ISignal<IKernelConnection, ConnectionStatus>;
      readonly anyMessage: ISignal<IKernelConnection, IAnyMessageArgs>;
    }
  }

  export namespace ServerConnection {
    interface ISettings {
      readonly baseUrl: string;
    }
    function makeSettings(): ISettings;
    function makeRequest(url: string, init: RequestInit, settings: ISettings): Promise<Response>;
  }
}

declare module '@jupyterlab/notebook' {
  import type { ISignal, Kernel } from '@jupyterlab/services';

  export interface Cell {
    readonly model: { readonly id: string; trusted: boolean };
    readonly node: HTMLElement;
    readonly isDisposed: boolean;
  }
  export interface Notebook {
    readonly widgets: ReadonlyArray<Cell>;
    readonly model: { readonly sharedModel: { getState?(key: string): unknown } } | null;
    /** Emits too when a cell of a windowed notebook got its DOM. */
    readonly cellInViewportChanged: ISignal<Notebook, Cell>;
  }
  export interface SessionContext {
    readonly isReady: boolean;
    readonly ready: Promise<void>;
    readonly session: { readonly kernel: Kernel.IKernelConnection | null } | null;
    readonly kernelChanged: ISignal<SessionContext, unknown>;
    initialize(): Promise<boolean>;
    startKernel(): Promise<boolean>;
    changeKernel(options?: object): Promise<Kernel.IKernelConnection | null>;
  }
  export interface NotebookPanel {
    readonly content: Notebook;
    readonly sessionContext: SessionContext;
    readonly isDisposed: boolean;
    readonly isVisible: boolean;
    readonly disposed: ISignal<NotebookPanel, void>;
  }
  export interface INotebookTracker {
    readonly widgetAdded: ISignal<INotebookTracker, NotebookPanel>;
    forEach(fn: (panel: NotebookPanel) => void): void;
  }
  /** The token by which JupyterLab hands out the tracker. */
  export const INotebookTracker: object;
  export namespace NotebookActions {
    const executionScheduled: ISignal<unknown, { notebook: Notebook; cell: Cell }>;
  }
}
