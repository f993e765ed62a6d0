// What the widgets share: colours of the theme with fallbacks, sizes, and safe elements.
// Text only ever enters the page as text: names come from images and may hold anything.

export const LOOK = `
.dockerlab-widget {
  --dl-back: var(--jp-layout-color1, light-dark(#fff, #111));
  --dl-back2: var(--jp-layout-color2, light-dark(#f2f2f2, #222));
  --dl-text: var(--jp-content-font-color1, light-dark(#1a1a1a, #eee));
  --dl-dim: var(--jp-content-font-color2, light-dark(#5a5a5a, #aaa));
  --dl-line: var(--jp-border-color1, light-dark(#bbb, #555));
  --dl-select: light-dark(#bbdefb, #12446f);
  --dl-focus: var(--jp-brand-color1, light-dark(#1565c0, #64b5f6));
  --dl-added: var(--jp-success-color1, light-dark(#2e7d32, #81c784));
  --dl-changed: var(--jp-warn-color0, light-dark(#b34700, #ffb74d));
  --dl-removed: var(--jp-error-color1, light-dark(#c62828, #ef9a9a));
  color-scheme: light dark;
  color: var(--dl-text);
  background: var(--dl-back);
  font: 13px var(--jp-ui-font-family, system-ui, sans-serif);
  border: 1px solid var(--dl-line);
}
body[data-jp-theme-light='true'] .dockerlab-widget { color-scheme: light; }
body[data-jp-theme-light='false'] .dockerlab-widget { color-scheme: dark; }
.dockerlab-widget *:focus-visible { outline: 2px solid var(--dl-focus); outline-offset: -2px; }
.dockerlab-widget button, .dockerlab-widget input {
  font: inherit; color: inherit; background: var(--dl-back2);
  border: 1px solid var(--dl-line); border-radius: 3px; padding: 2px 8px;
}
.dockerlab-widget .dl-bar { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; padding: 6px; }
.dockerlab-widget .dl-dim { color: var(--dl-dim); }
`;

/** An element with a class, some text and attributes. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  text = ''
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    made.setAttribute(name, value);
  }
  if (text) {
    made.textContent = text;
  }
  return made;
}

/** A number of bytes in powers of 1000, as docker writes it. */
export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let place = 0;
  while (bytes >= 1000 && place < units.length - 1) {
    bytes /= 1000;
    place += 1;
  }
  return `${Number(bytes.toPrecision(3))} ${units[place]}`;
}

/** A number of bytes in powers of 1024: memory. */
export function binarySize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let place = 0;
  while (bytes >= 1024 && place < units.length - 1) {
    bytes /= 1024;
    place += 1;
  }
  return `${Number(bytes.toPrecision(4))} ${units[place]}`;
}
