// The layer explorer: layers on the left, the files of the chosen one on the right.
// The state is in dockerlab/notebook/widgets/layers.py; this file only draws it.

import { type File, type Layer, type Mark, type Row, rows, tree } from './parts/files';
import { LOOK, element, size } from './parts/look';
import type { Place } from './parts/model';

const ROW_PX = 22;
const WORDS: Record<Mark, string> = { a: 'added', c: 'changed', r: 'removed', s: '' };
const SIGNS: Record<Mark, string> = { a: '+', c: '~', r: '−', s: ' ' };

const CSS = `${LOOK}
.dl-layers { display: grid; grid-template-columns: minmax(220px, 36%) 1fr; height: 420px; }
.dl-layers .dl-left { overflow: auto; border-right: 1px solid var(--dl-line); }
.dl-layers .dl-right { display: flex; flex-direction: column; min-width: 0; }
.dl-layers [role=option] { padding: 6px 8px; cursor: pointer; border-bottom: 1px solid var(--dl-line); }
.dl-layers [aria-selected=true] { background: var(--dl-select); }
.dl-layers .dl-instruction { font-family: var(--jp-code-font-family, monospace); font-size: 12px;
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.dl-layers .dl-scroll { flex: 1; overflow: auto; position: relative; }
.dl-layers .dl-row { position: absolute; left: 0; right: 0; height: ${ROW_PX}px; line-height: ${ROW_PX}px;
  display: flex; gap: 8px; padding-right: 8px; white-space: pre; cursor: default;
  font-family: var(--jp-code-font-family, monospace); font-size: 12px; }
.dl-layers .dl-row .dl-name { flex: 1; overflow: hidden; text-overflow: ellipsis; }
.dl-layers .dl-a { color: var(--dl-added); }
.dl-layers .dl-c { color: var(--dl-changed); }
.dl-layers .dl-r { color: var(--dl-removed); }
.dl-layers .dl-r .dl-name { text-decoration: line-through; }
`;

let counter = 0;

function render({ model, el }: Place): () => void {
  const layers = read(model.get('content'));
  const own = `dl-layers-${++counter}`;
  const root = element('div', { class: 'dockerlab-widget' });
  root.append(element('style', {}, CSS));
  const body = element('div', { class: 'dl-layers' });
  const left = element('div', {
    class: 'dl-left',
    role: 'listbox',
    tabindex: '0',
    'aria-label': `Layers of ${String(model.get('image'))}`
  });
  const right = element('div', { class: 'dl-right' });
  const bar = element('div', { class: 'dl-bar' });
  const scroll = element('div', {
    class: 'dl-scroll',
    role: 'tree',
    tabindex: '0',
    'aria-label': 'Files'
  });
  const space = element('div', { role: 'presentation' });
  const status = element('div', { class: 'dl-bar dl-dim', role: 'status' });
  scroll.append(space);

  let chosen = Math.max(0, layers.length - 1);
  let cumulative = false;
  let filter = '';
  const marks = new Set<Mark>();
  const open = new Set<string>();
  let files = tree(layers, chosen, cumulative);
  let visible: Row[] = [];
  let active = 0;

  const shown = (file: File): boolean =>
    (!marks.size || marks.has(file.mark)) && (!filter || file.path.toLowerCase().includes(filter));

  const draw = (): void => {
    const first = Math.max(0, Math.floor(scroll.scrollTop / ROW_PX) - 5);
    const last = Math.min(visible.length, first + Math.ceil(scroll.clientHeight / ROW_PX) + 10);
    space.replaceChildren(...visible.slice(first, last).map((row, i) => line(row, first + i)));
    space.style.height = `${visible.length * ROW_PX}px`;
    if (visible.length) {
      scroll.setAttribute('aria-activedescendant', `${own}-row-${active}`);
    } else {
      scroll.removeAttribute('aria-activedescendant');
    }
  };
  const refresh = (): void => {
    visible = rows(files, open, shown, Boolean(filter || marks.size));
    active = Math.min(active, Math.max(0, visible.length - 1));
    status.textContent = `${visible.length} rows`;
    draw();
  };
  const toggle = (file: File): void => {
    if (!open.delete(file.path)) {
      open.add(file.path);
    }
    refresh();
  };

  const line = (row: Row, index: number): HTMLElement => {
    const { file } = row;
    const branch = file.children.size > 0;
    const made = element('div', {
      id: `${own}-row-${index}`,
      class: `dl-row dl-${file.mark}`,
      role: 'treeitem',
      'aria-level': String(row.level),
      'aria-posinset': String(row.place),
      'aria-setsize': String(row.among),
      'aria-selected': String(index === active)
    });
    const isOpen = open.has(file.path) || Boolean(filter || marks.size);
    if (branch) {
      made.setAttribute('aria-expanded', String(isOpen));
    }
    made.style.top = `${index * ROW_PX}px`;
    made.style.paddingLeft = `${row.level * 14}px`;
    const arrow = branch ? (isOpen ? '▾' : '▸') : ' ';
    const link = file.link ? ` → ${file.link}` : '';
    const word = WORDS[file.mark] ? `${WORDS[file.mark]}: ` : '';
    made.setAttribute('aria-label', `${word}${file.name}, ${size(file.size)}`);
    made.append(
      element('span', { 'aria-hidden': 'true' }, `${SIGNS[file.mark]} ${arrow}`),
      element('span', { class: 'dl-name' }, `${file.name}${file.kind === 'd' ? '/' : ''}${link}`),
      element('span', { class: 'dl-dim' }, size(file.size))
    );
    made.addEventListener('click', () => {
      active = index;
      branch ? toggle(file) : draw();
    });
    return made;
  };

  const choose = (number: number): void => {
    chosen = Math.min(layers.length - 1, Math.max(0, number));
    files = tree(layers, chosen, cumulative);
    active = 0;
    scroll.scrollTop = 0;
    list();
    refresh();
  };
  const list = (): void => {
    left.replaceChildren(
      ...layers.map((layer, place) => {
        const option = element('div', {
          id: `${own}-layer-${place}`,
          role: 'option',
          'aria-selected': String(place === chosen)
        });
        const count = (mark: Mark): number => layer.entries.filter(entry => entry[3] === mark).length;
        const figures = `${size(layer.size)}  +${count('a')} ~${count('c')} −${count('r')}`;
        const title = element('div', {}, `${layer.number}  ${figures}`);
        const words = element('div', { class: 'dl-instruction dl-dim' }, layer.instruction);
        words.title = layer.instruction;
        option.append(title, words);
        option.addEventListener('click', () => choose(place));
        return option;
      })
    );
    left.setAttribute('aria-activedescendant', `${own}-layer-${chosen}`);
  };

  left.addEventListener('keydown', event => {
    const steps: Record<string, number> = {
      ArrowDown: chosen + 1,
      ArrowUp: chosen - 1,
      Home: 0,
      End: layers.length - 1
    };
    if (event.key in steps) {
      event.preventDefault();
      event.stopPropagation(); // JupyterLab would move to the next cell
      choose(steps[event.key]);
      left.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' });
    }
  });
  const go = (index: number): void => {
    active = Math.min(visible.length - 1, Math.max(0, index));
    const top = active * ROW_PX;
    if (top < scroll.scrollTop) {
      scroll.scrollTop = top;
    } else if (top + ROW_PX > scroll.scrollTop + scroll.clientHeight) {
      scroll.scrollTop = top + ROW_PX - scroll.clientHeight;
    }
    draw();
  };
  const parentOf = (index: number): number => {
    let at = index;
    while (at > 0 && visible[at].level >= visible[index].level) {
      at -= 1;
    }
    return at;
  };
  const page = (): number => Math.max(1, Math.floor(scroll.clientHeight / ROW_PX) - 1);
  const keys: Record<string, () => void> = {
    ArrowDown: () => go(active + 1),
    ArrowUp: () => go(active - 1),
    PageDown: () => go(active + page()),
    PageUp: () => go(active - page()),
    Home: () => go(0),
    End: () => go(visible.length - 1),
    Enter: () => toggle(visible[active].file),
    ' ': () => toggle(visible[active].file),
    ArrowRight: () => {
      const { file } = visible[active];
      if (file.children.size && !open.has(file.path)) {
        toggle(file);
      } else if (file.children.size) {
        go(active + 1);
      }
    },
    ArrowLeft: () => {
      const { file } = visible[active];
      if (file.children.size && open.has(file.path)) {
        toggle(file);
      } else {
        go(parentOf(active));
      }
    }
  };
  scroll.addEventListener('keydown', event => {
    if (event.key in keys && visible.length) {
      event.preventDefault();
      event.stopPropagation();
      keys[event.key]();
    }
  });
  scroll.addEventListener('scroll', draw);

  const search = element('input', { type: 'search', placeholder: 'Filter paths', 'aria-label': 'Filter paths' });
  search.addEventListener('input', () => {
    filter = search.value.toLowerCase();
    refresh();
  });
  search.addEventListener('keydown', event => event.stopPropagation());
  bar.append(search, box('up to this layer', on => {
    cumulative = on;
    choose(chosen);
  }));
  for (const mark of ['a', 'c', 'r'] as Mark[]) {
    bar.append(box(WORDS[mark], on => {
      on ? marks.add(mark) : marks.delete(mark);
      refresh();
    }));
  }

  right.append(bar, scroll, status);
  body.append(left, right);
  root.append(body);
  el.append(root);
  list();
  // The height of the list is known once it is on the page.
  const watcher = new ResizeObserver(() => draw());
  watcher.observe(scroll);
  refresh();
  return () => watcher.disconnect();
}

function box(label: string, changed: (on: boolean) => void): HTMLElement {
  const made = element('label');
  const input = element('input', { type: 'checkbox' });
  input.addEventListener('change', () => changed(input.checked));
  made.append(input, ` ${label}`);
  return made;
}

function read(content: unknown): Layer[] {
  if (!(content instanceof DataView) || !content.byteLength) {
    return [];
  }
  const bytes = new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
  return JSON.parse(new TextDecoder().decode(bytes)) as Layer[];
}

export default { render };
