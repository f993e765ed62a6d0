// What the widgets share: colours of the theme with fallbacks, sizes, and safe elements.
// Text only ever enters the page as text: names come from images and may hold anything.

export const LOOK = `
.dockerlab-widget {
  --dl-back: var(--jp-layout-color1, light-dark(#fff, #111));
  --dl-back2: var(--jp-layout-color2, light-dark(#f2f2f2, #222));
  --dl-text: light-dark(#1a1a1a, #ececec);
  --dl-dim: light-dark(#595959, #b4b4b4);
  --dl-line: light-dark(#d0d0d0, #4a4a4a);
  --dl-edge: light-dark(#767676, #8a8a8a);
  --dl-select: light-dark(#e3f2fd, #123a5a);
  --dl-focus: light-dark(#1565c0, #64b5f6);
  --dl-bar: light-dark(#64a5dd, #4f8fc4);
  --dl-added: light-dark(#1b5e20, #81c784);
  --dl-changed: light-dark(#8a4700, #ffb74d);
  --dl-removed: light-dark(#b71c1c, #ef9a9a);
  --dl-code: var(--jp-code-font-family, ui-monospace, monospace);
  box-sizing: border-box;
  color-scheme: light dark;
  color: var(--dl-text);
  background: var(--dl-back);
  font: 13px/1.4 var(--jp-ui-font-family, system-ui, sans-serif);
  border: 1px solid var(--dl-line);
  border-radius: 3px;
}
body[data-jp-theme-light='true'] .dockerlab-widget { color-scheme: light; }
body[data-jp-theme-light='false'] .dockerlab-widget { color-scheme: dark; }
.dockerlab-widget *, .dockerlab-widget *::before { box-sizing: border-box; }
.dockerlab-widget *:focus-visible { outline: 2px solid var(--dl-focus); outline-offset: -2px; }
.dockerlab-widget button, .dockerlab-widget input[type=search] {
  font: inherit; color: inherit; background: var(--dl-back);
  border: 1px solid var(--dl-edge); border-radius: 3px; padding: 2px 8px; min-height: 26px;
}
.dockerlab-widget button { cursor: pointer; }
.dockerlab-widget button:disabled { cursor: default; color: var(--dl-dim); border-style: dashed; }
.dockerlab-widget button[aria-pressed=true] { background: var(--dl-select); border-color: var(--dl-focus); }
.dockerlab-widget .dl-bar {
  display: flex; flex-wrap: wrap; gap: 6px; align-items: center; padding: 6px 8px;
}
.dockerlab-widget .dl-dim { color: var(--dl-dim); }
.dockerlab-widget .dl-a { color: var(--dl-added); }
.dockerlab-widget .dl-c { color: var(--dl-changed); }
.dockerlab-widget .dl-r { color: var(--dl-removed); }
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

/** A name with what the eye would miss made visible: control and direction characters, odd bytes. */
export function visible(text: string): string {
  // Lone surrogates stand for bytes that are no UTF-8 (Python's surrogateescape).
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, letter => {
    const code = letter.codePointAt(0) as number;
    const known: Record<number, string> = { 9: '\\t', 10: '\\n', 13: '\\r' };
    if (code in known) {
      return known[code];
    }
    if (code >= 0xdc80 && code <= 0xdcff) {
      return `\\x${(code - 0xdc00).toString(16)}`;
    }
    const hex = code.toString(16);
    return code < 256 ? `\\x${hex.padStart(2, '0')}` : `\\u${hex.padStart(4, '0')}`;
  });
}
