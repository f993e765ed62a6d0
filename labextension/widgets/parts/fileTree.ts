// The file tree: a virtual list that draws only the rows in sight, with the keys of a tree.

import type { File, Row } from './files';
import { SIGNS, WORDS } from './layerList';
import { element, size, visible } from './look';

const ROW_PX = 22;
const MARGIN_ROWS = 10;

export const TREE_LOOK = `
.dl-layers .dl-scroll { flex: 1; overflow: auto; position: relative; }
.dl-layers .dl-row {
  position: absolute; left: 0; right: 0; height: ${ROW_PX}px; line-height: ${ROW_PX}px;
  display: flex; padding-right: 10px; white-space: pre; cursor: default; font-family: var(--dl-code); font-size: 12px;
}
.dl-layers .dl-row:hover { background: var(--dl-back2); }
.dl-layers .dl-row[aria-selected=true] { background: var(--dl-select); }
.dl-layers .dl-sign { flex: none; width: 26px; text-align: center; font-weight: 700; }
.dl-layers .dl-arrow { flex: none; width: 16px; color: var(--dl-dim); }
.dl-layers .dl-name { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; }
.dl-layers .dl-r .dl-name { text-decoration: line-through; }
.dl-layers .dl-size { flex: none; width: 6.5em; text-align: right; color: var(--dl-dim); }
.dl-layers .dl-empty { padding: 24px; text-align: center; color: var(--dl-dim); }
`;

export interface FileTree {
  node: HTMLElement;
  /** Show these rows; `top` begins at the first one again. */
  show(rows: Row[], isOpen: (file: File) => boolean, top: boolean): void;
  redraw(): void;
}

export function fileTree(own: string, toggled: (file: File) => void): FileTree {
  const node = element('div', { class: 'dl-scroll', tabindex: '0', 'aria-label': 'Files of this layer' });
  const space = element('div', { role: 'presentation' });
  const empty = element('div', { class: 'dl-empty' }, 'No file fits.');
  node.append(space, empty);
  let rows: Row[] = [];
  let isOpen: (file: File) => boolean = () => false;
  let active = 0;

  const line = (row: Row, index: number): HTMLElement => {
    const { file } = row;
    const made = element('div', {
      id: `${own}-row-${index}`,
      class: `dl-row dl-${file.mark}`,
      role: 'treeitem',
      'aria-level': String(row.level),
      'aria-posinset': String(row.place),
      'aria-setsize': String(row.among),
      'aria-selected': String(index === active)
    });
    const branch = file.children.size > 0;
    const open = branch && isOpen(file);
    if (branch) {
      made.setAttribute('aria-expanded', String(open));
    }
    const link = file.link ? ` ${file.kind === 'h' ? '⇒' : '→'} ${visible(file.link)}` : '';
    const name = `${visible(file.name)}${file.kind === 'd' ? '/' : ''}${link}`;
    const weight = 'dlh'.includes(file.kind) && !file.size ? '' : size(file.size);
    const word = WORDS[file.mark] ? `${WORDS[file.mark]}: ` : '';
    made.setAttribute('aria-label', `${word}${name}${weight ? `, ${weight}` : ''}`);
    made.title = `${word}${visible(file.path)}${link}`;
    made.style.top = `${index * ROW_PX}px`;
    const arrow = element('span', { class: 'dl-arrow' }, branch ? (open ? '▾' : '▸') : '');
    arrow.style.marginLeft = `${(row.level - 1) * 16}px`;
    made.append(
      element('span', { class: 'dl-sign' }, SIGNS[file.mark]),
      arrow,
      element('span', { class: 'dl-name' }, name),
      element('span', { class: 'dl-size' }, weight)
    );
    made.addEventListener('click', () => {
      active = index;
      branch ? toggled(file) : draw();
    });
    return made;
  };

  const draw = (): void => {
    const first = Math.max(0, Math.floor(node.scrollTop / ROW_PX) - MARGIN_ROWS);
    const last = Math.min(rows.length, first + Math.ceil(node.clientHeight / ROW_PX) + 2 * MARGIN_ROWS);
    space.replaceChildren(...rows.slice(first, last).map((row, at) => line(row, first + at)));
    space.style.height = `${rows.length * ROW_PX}px`;
    empty.hidden = rows.length > 0;
    // A tree without items is none, and what is not drawn can't be pointed at.
    node.setAttribute('role', rows.length ? 'tree' : 'group');
    if (active >= first && active < last) {
      node.setAttribute('aria-activedescendant', `${own}-row-${active}`);
    } else {
      node.removeAttribute('aria-activedescendant');
    }
  };

  const go = (index: number): void => {
    active = Math.min(rows.length - 1, Math.max(0, index));
    const top = active * ROW_PX;
    const lowest = top + ROW_PX - node.clientHeight;
    node.scrollTop = Math.min(Math.max(node.scrollTop, lowest), top);
    draw();
  };
  const parentOf = (index: number): number => {
    let at = index;
    while (at > 0 && rows[at].level >= rows[index].level) {
      at -= 1;
    }
    return at;
  };
  const fold = (): void => {
    if (rows[active].file.children.size) {
      toggled(rows[active].file);
    }
  };
  const page = (): number => Math.max(1, Math.floor(node.clientHeight / ROW_PX) - 1);
  const keys: Record<string, () => void> = {
    ArrowDown: () => go(active + 1),
    ArrowUp: () => go(active - 1),
    PageDown: () => go(active + page()),
    PageUp: () => go(active - page()),
    Home: () => go(0),
    End: () => go(rows.length - 1),
    Enter: fold,
    ' ': fold,
    ArrowRight: () => {
      const { file } = rows[active];
      if (file.children.size) {
        isOpen(file) ? go(active + 1) : fold();
      }
    },
    ArrowLeft: () => {
      const { file } = rows[active];
      file.children.size && isOpen(file) ? fold() : go(parentOf(active));
    }
  };
  node.addEventListener('keydown', event => {
    if (event.key in keys && rows.length) {
      event.preventDefault();
      event.stopPropagation(); // JupyterLab would move to the next cell
      keys[event.key]();
    }
  });
  node.addEventListener('scroll', draw);

  return {
    node,
    redraw: draw,
    show: (made, open, top) => {
      rows = made;
      isOpen = open;
      active = top ? 0 : Math.min(active, Math.max(0, rows.length - 1));
      if (top) {
        node.scrollTop = 0;
      }
      draw();
    }
  };
}
