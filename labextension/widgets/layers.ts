// The layer explorer: layers on the left, the files of the chosen one on the right.
// The state is in dockerlab/notebook/widgets/layers.py; this file only draws it.

import { fileTree, TREE_LOOK } from './parts/fileTree';
import { count, few, type File, type Layer, type Mark, matches, rows, tree } from './parts/files';
import { layerList, LIST_LOOK, MARKS, SIGNS, WORDS } from './parts/layerList';
import { element, LOOK, size, visible } from './parts/look';
import type { Place } from './parts/model';

const OPEN_ROWS = 100;
const CSS = `${LOOK}
.dl-layers { display: grid; grid-template-columns: minmax(240px, 40%) minmax(0, 1fr); height: 420px; }
.dl-layers .dl-left, .dl-layers .dl-right { display: flex; flex-direction: column; min-width: 0; min-height: 0; }
.dl-layers .dl-left { border-right: 1px solid var(--dl-line); }
.dl-layers .dl-title { padding: 9px 10px; border-bottom: 1px solid var(--dl-line); }
.dl-layers .dl-right > .dl-bar { border-bottom: 1px solid var(--dl-line); }
.dl-layers .dl-right > .dl-totals { border-bottom: 0; border-top: 1px solid var(--dl-line); min-height: 32px; }
.dl-layers input[type=search] { flex: 1; min-width: 90px; }
.dl-layers .dl-together { display: flex; gap: 4px; align-items: center; white-space: nowrap; }
${LIST_LOOK}${TREE_LOOK}
.dl-explorer { container-type: inline-size; }
@container (max-width: 620px) {
  .dl-layers { grid-template-columns: minmax(0, 1fr); grid-template-rows: 200px minmax(0, 1fr); height: 600px; }
  .dl-layers .dl-left { border-right: 0; border-bottom: 2px solid var(--dl-line); }
}
`;
let counter = 0;

function render({ model, el }: Place): () => void {
  const layers = read(model.get('content'));
  const image = visible(String(model.get('image')));
  const own = `dl-layers-${++counter}`;

  let chosen = Math.max(0, layers.length - 1);
  let cumulative = false;
  let wanted = '';
  const marks = new Set<Mark>();
  let files = tree(layers, chosen, cumulative);
  let opened = few(files, OPEN_ROWS);
  // What the reader opened or closed by hand, against what opens by itself.
  const choices = new Map<string, boolean>();

  const filtering = (): boolean => Boolean(wanted || marks.size);
  const isOpen = (file: File): boolean => choices.get(file.path) ?? (filtering() || opened.has(file.path));
  const fits = (file: File): boolean =>
    (!marks.size || marks.has(file.mark)) && (!wanted || file.path.toLowerCase().includes(wanted));

  const explorer = fileTree(own, file => {
    choices.set(file.path, !isOpen(file));
    refresh(false);
  });
  const refresh = (top: boolean): void => {
    explorer.show(rows(files, isOpen, filtering() ? matches(files, fits) : null), isOpen, top);
  };
  const refilter = (): void => {
    choices.clear();
    refresh(true);
  };

  const totals = element('div', { class: 'dl-bar dl-totals', role: 'status' });
  const buttons = MARKS.map(mark => {
    const made = element('button', { type: 'button', class: `dl-${mark}`, 'aria-pressed': 'false' });
    made.addEventListener('click', () => {
      marks.delete(mark) || marks.add(mark);
      made.setAttribute('aria-pressed', String(marks.has(mark)));
      refilter();
    });
    return made;
  });
  const choose = (place: number): void => {
    chosen = place;
    files = tree(layers, chosen, cumulative);
    opened = few(files, OPEN_ROWS);
    list.select(chosen);
    MARKS.forEach((mark, at) => {
      buttons[at].textContent = `${SIGNS[mark]} ${WORDS[mark]} ${count(layers[chosen], mark)}`;
    });
    totals.replaceChildren(...summary(layers, chosen, cumulative, files.size));
    refilter();
  };
  const list = layerList(own, `Layers of ${image}`, layers, choose);

  const search = element('input', { type: 'search', placeholder: 'Filter paths', 'aria-label': 'Filter paths' });
  search.addEventListener('input', () => {
    wanted = search.value.toLowerCase();
    refilter();
  });
  search.addEventListener('keydown', event => event.stopPropagation());
  const together = element('label', { class: 'dl-together' });
  const box = element('input', { type: 'checkbox' });
  box.addEventListener('change', () => {
    cumulative = box.checked;
    choose(chosen);
  });
  together.append(box, 'with the layers below');
  const bar = element('div', { class: 'dl-bar' });
  bar.append(search, ...buttons, together);

  const left = element('div', { class: 'dl-left' });
  const title = element('div', { class: 'dl-title' });
  const total = layers.reduce((sum, layer) => sum + layer.size, 0);
  title.append(element('strong', {}, image), ` · ${layers.length} layers · ${size(total)}`);
  left.append(title, list.node);
  const right = element('div', { class: 'dl-right' });
  right.append(bar, explorer.node, totals);
  const body = element('div', { class: 'dl-layers' });
  body.append(left, right);
  const root = element('div', { class: 'dockerlab-widget dl-explorer' });
  root.append(element('style', {}, CSS), body);
  el.append(root);
  choose(chosen);
  // The height of the list is known once it is on the page.
  const watcher = new ResizeObserver(() => explorer.redraw());
  watcher.observe(explorer.node);
  return () => watcher.disconnect();
}

/** "3 added, 1 removed, 1 MB", with the sign beside each word. */
function summary(layers: Layer[], chosen: number, cumulative: boolean, bytes: number): (Node | string)[] {
  const layer = layers[chosen];
  if (!layer) {
    return ['This image has no layers.'];
  }
  const parts: Node[] = [];
  for (const mark of MARKS) {
    const found = count(layer, mark);
    if (found) {
      parts.push(element('span', { class: `dl-${mark}` }, `${SIGNS[mark]} ${found} ${WORDS[mark]}`));
    }
  }
  if (!parts.length) {
    parts.push(element('span', {}, 'nothing changed'));
  }
  const weight = cumulative ? `${size(bytes)} up to layer ${layer.number}` : size(layer.size);
  const hidden = layer.entries.reduce((sum, entry) => sum + (entry[3] === 'r' ? entry[2] : 0), 0);
  const note = hidden ? ` · hides ${size(hidden)} of lower layers` : '';
  parts.push(element('span', { class: 'dl-dim' }, `${weight}${note}`));
  return [element('strong', {}, `Layer ${layer.number}`), ...parts];
}

function read(content: unknown): Layer[] {
  if (!(content instanceof DataView) || !content.byteLength) {
    return [];
  }
  const bytes = new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
  return JSON.parse(new TextDecoder().decode(bytes)) as Layer[];
}

export default { render };
