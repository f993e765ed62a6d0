// The part of anywidget's model that our drawings use.

export interface Model {
  get(name: string): unknown;
  on(event: string, heard: (...args: never[]) => void): void;
  off(event: string, heard: (...args: never[]) => void): void;
  send(content: unknown): void;
}

export interface Place {
  model: Model;
  el: HTMLElement;
}
