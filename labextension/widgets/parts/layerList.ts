// The list of layers: number, weight as a bar, what was added, changed and removed, instruction.

import { count, type Layer, type Mark } from './files';
import { element, size, visible } from './look';

export const SIGNS: Record<Mark, string> = { a: '+', c: '~', r: '−', s: '' };
export const WORDS: Record<Mark, string> = { a: 'added', c: 'changed', r: 'removed', s: '' };
export const MARKS: readonly Mark[] = ['a', 'c', 'r'];

export const LIST_LOOK = `
.dl-layers .dl-list { flex: 1; overflow: auto; }
.dl-layers [role=option] {
  padding: 6px 10px 7px; cursor: pointer; border-bottom: 1px solid var(--dl-line);
  border-left: 3px solid transparent;
}
.dl-layers [role=option][aria-selected=true] {
  background: var(--dl-select); border-left-color: var(--dl-focus);
}
.dl-layers .dl-figures {
  display: grid; grid-template-columns: 2.2em 4.8em minmax(24px, 1fr) auto; gap: 8px; align-items: center;
  font-variant-numeric: tabular-nums;
}
.dl-layers .dl-number { font-weight: 600; }
.dl-layers .dl-weight { text-align: right; }
.dl-layers .dl-track { height: 8px; border-radius: 4px; background: var(--dl-back2); overflow: hidden; }
.dl-layers .dl-fill { height: 100%; border-radius: 4px; background: var(--dl-bar); }
.dl-layers .dl-counts { display: flex; gap: 8px; font-family: var(--dl-code); font-size: 12px; }
.dl-layers .dl-none { color: var(--dl-dim); }
.dl-layers .dl-instruction {
  margin-top: 3px; font: 12px/1.35 var(--dl-code); overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
}
.dl-layers [aria-selected=true] .dl-instruction {
  white-space: pre-wrap; overflow-wrap: anywhere; max-height: 8.1em; overflow-y: auto;
}
`;

/** A listbox that calls `chosen` with the place of a layer; `select` marks one. */
export function layerList(
  own: string,
  label: string,
  layers: Layer[],
  chosen: (place: number) => void
): { node: HTMLElement; select: (place: number) => void } {
  const node = element('div', { class: 'dl-list', role: 'listbox', tabindex: '0', 'aria-label': label });
  const heaviest = Math.max(1, ...layers.map(layer => layer.size));
  const options = layers.map((layer, place) => {
    const made = option(layer, heaviest);
    made.id = `${own}-layer-${place}`;
    made.addEventListener('click', () => chosen(place));
    return made;
  });
  node.append(...options);
  let selected = 0;
  const select = (place: number): void => {
    selected = place;
    options.forEach((made, at) => made.setAttribute('aria-selected', String(at === place)));
    if (options.length) {
      node.setAttribute('aria-activedescendant', options[place].id);
    }
  };
  node.addEventListener('keydown', event => {
    const steps: Record<string, number> = {
      ArrowDown: selected + 1,
      ArrowUp: selected - 1,
      Home: 0,
      End: layers.length - 1
    };
    if (event.key in steps) {
      event.preventDefault();
      event.stopPropagation(); // JupyterLab would move to the next cell
      chosen(Math.min(layers.length - 1, Math.max(0, steps[event.key])));
      show(node, options[selected]);
    }
  });
  return { node, select };
}

/** Into view inside the list only: the notebook must not jump. */
function show(list: HTMLElement, option: HTMLElement | undefined): void {
  if (option) {
    const top = option.offsetTop - list.offsetTop;
    const lowest = top + option.offsetHeight - list.clientHeight;
    list.scrollTop = Math.min(Math.max(list.scrollTop, lowest), top);
  }
}

function option(layer: Layer, heaviest: number): HTMLElement {
  const made = element('div', { role: 'option' });
  const figures = element('div', { class: 'dl-figures' });
  const track = element('div', { class: 'dl-track', 'aria-hidden': 'true' });
  const fill = element('div', { class: 'dl-fill' });
  fill.style.width = `${(100 * layer.size) / heaviest}%`;
  track.append(fill);
  const counts = element('div', { class: 'dl-counts' });
  const told: string[] = [];
  for (const mark of MARKS) {
    const found = count(layer, mark);
    counts.append(element('span', { class: found ? `dl-${mark}` : 'dl-none' }, `${SIGNS[mark]}${found}`));
    told.push(`${found} ${WORDS[mark]}`);
  }
  figures.append(
    element('span', { class: 'dl-number' }, String(layer.number)),
    element('span', { class: 'dl-weight' }, size(layer.size)),
    track,
    counts
  );
  const words = visible(layer.instruction) || '(no instruction recorded)';
  const instruction = element('div', { class: 'dl-instruction' }, words);
  instruction.title = `${words}\n${layer.digest}`;
  made.setAttribute('aria-label', `Layer ${layer.number}, ${size(layer.size)}, ${told.join(', ')}: ${words}`);
  made.append(figures, instruction);
  return made;
}
