// The live charts of containers. Samples come as messages from dockerlab/notebook/widgets/stats.py;
// this file only draws them.

import UPLOT_CSS from 'uplot/dist/uPlot.min.css';

import { Chart, kinds, type Sample, shade } from './parts/charts';
import { binarySize, element, LOOK, size, visible } from './parts/look';
import type { Place } from './parts/model';

const KEPT = 600;
const SILENT_MS = 3500; // the host sends a sample a second: whoever misses three has ended
const COLUMNS = ['Container', 'CPU', 'Memory / limit', 'Network in / out', 'Block read / written', 'Processes'];
const CSS = `${UPLOT_CSS}${LOOK}
.dl-stats .dl-charts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(max(290px, 40%), 1fr)); gap: 12px 16px; padding: 2px 10px 8px;
}
.dl-stats .dl-chart { min-width: 0; }
.dl-stats .dl-chart > strong { display: block; padding-left: 6px; }
.dl-stats .uplot { font: inherit; width: 100%; }
.dl-stats .u-legend { font-size: 12px; text-align: left; padding-left: 60px; font-variant-numeric: tabular-nums; }
.dl-stats .u-legend .u-series:first-child { display: none; }
.dl-stats .u-legend th, .dl-stats .u-legend td { padding: 0 4px; text-align: left; border: 0; background: none; }
.dl-stats .dl-figures { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
.dl-stats .dl-figures th, .dl-stats .dl-figures td {
  padding: 4px 10px; text-align: right; border-top: 1px solid var(--dl-line); background: none; font-weight: inherit;
}
.dl-stats .dl-figures thead th { font-weight: 600; }
.dl-stats .dl-figures th:first-child { text-align: left; }
.dl-stats .dl-swatch {
  display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 7px;
}
`;

let counter = 0;

function render({ model, el }: Place): () => void {
  const names = ((model.get('names') as string[]) ?? []).map(visible);
  const charted = kinds((model.get('machine') as number) || Infinity);
  const samples = new Map<string, Sample[]>();
  let start = Infinity;

  const root = element('div', { class: 'dockerlab-widget dl-stats' });
  const together = `dl-stats-${++counter}`;
  const bar = element('div', { class: 'dl-bar' });
  const stop = element('button', { type: 'button' }, '■ Stop watching');
  const status = element('span', { class: 'dl-dim', role: 'status' });
  bar.append(element('strong', {}, names.join(', ') || 'Containers'), stop, status);
  const places = charted.map(kind => {
    const place = element('div', { class: 'dl-chart', role: 'group', 'aria-label': kind.title });
    place.append(element('strong', {}, kind.title));
    return place;
  });
  const charts = element('div', { class: 'dl-charts' });
  charts.append(...places);
  const table = element('table', { class: 'dl-figures', 'aria-label': 'Figures now' });
  const head = element('tr');
  COLUMNS.forEach(title => head.append(element('th', { scope: 'col' }, title)));
  const thead = element('thead');
  thead.append(head);
  const body = element('tbody');
  table.append(thead, body);
  root.append(element('style', {}, CSS), bar, charts, table);
  el.append(root);

  let drawn: Chart[] = [];
  let shown = '';
  const fit = (): void => {
    const width = places[0].clientWidth;
    if (width > 0) {
      drawn.forEach(chart => chart.resize(width));
    }
  };
  const build = (): void => {
    const known = [...samples.keys()].map(visible);
    const look = { colour: getComputedStyle(root).color, together };
    const wanted = JSON.stringify([known, look]);
    if (shown !== wanted) {
      shown = wanted;
      drawn.forEach(chart => chart.destroy());
      drawn = charted.map((kind, at) => new Chart(places[at], kind, known, look));
      fit();
    }
  };
  const draw = (): void => {
    build();
    const lists = [...samples.values()];
    drawn.forEach(chart => chart.draw(lists, start));
    const latest = lists.map(list => list[list.length - 1]);
    const newest = Math.max(...latest.map(sample => sample.time));
    body.replaceChildren(...latest.map((sample, place) => row(sample, place, newest - sample.time > SILENT_MS)));
    tell();
  };
  const tell = (): void => {
    const lists = [...samples.values()].flat();
    const last = Math.max(start, ...lists.map(sample => sample.time));
    const seconds = lists.length ? Math.round((last - start) / 1000) : 0;
    if (!names.length) {
      status.textContent = 'no running containers';
    } else if (model.get('ended')) {
      status.textContent = `ended after ${seconds} s; the figures stay`;
    } else {
      status.textContent = lists.length ? `live · ${seconds} s` : 'waiting for the first figures…';
    }
    stop.disabled = !names.length || Boolean(model.get('ended'));
  };
  // Many messages may come in one go: one frame draws them all.
  let waiting = 0;
  const later = (): void => {
    waiting ||= requestAnimationFrame(() => {
      waiting = 0;
      draw();
    });
  };
  const take = (sample: Sample): void => {
    const list = samples.get(sample.name) ?? [];
    if (list.length && list[list.length - 1].time >= sample.time) {
      return;
    }
    start = Math.min(start, sample.time);
    list.push(sample);
    list.splice(0, Math.max(0, list.length - KEPT));
    samples.set(sample.name, list);
    later();
  };
  const heard = (message: Sample): void => {
    if (message.kind === 'sample') {
      take(message);
    }
  };
  const ended = (): void => {
    ((model.get('first') as Sample[]) ?? []).forEach(take);
    tell();
  };
  stop.addEventListener('click', () => {
    model.send({ kind: 'stop' });
    stop.disabled = true;
  });
  ended();
  model.on('msg:custom', heard);
  model.on('change:ended', ended);
  const widths = new ResizeObserver(fit);
  widths.observe(charts);
  // Another theme has other colours, and a canvas does not inherit them.
  const themes = new MutationObserver(later);
  themes.observe(document.body, { attributes: true, attributeFilter: ['data-jp-theme-light', 'data-jp-theme-name'] });
  return () => {
    model.off('msg:custom', heard);
    model.off('change:ended', ended);
    widths.disconnect();
    themes.disconnect();
    cancelAnimationFrame(waiting);
    drawn.forEach(chart => chart.destroy());
  };
}

function row(sample: Sample, place: number, silent: boolean): HTMLElement {
  const made = element('tr', { class: silent ? 'dl-dim' : '' });
  const name = element('th', { scope: 'row' });
  const swatch = element('span', { class: 'dl-swatch', 'aria-hidden': 'true' });
  swatch.style.background = shade(place);
  name.append(swatch, `${visible(sample.name)}${silent ? ' (last figures)' : ''}`);
  made.append(name);
  for (const text of [
    `${sample.cpu.toFixed(1)} %`,
    `${binarySize(sample.memory)} / ${binarySize(sample.limit)}`,
    `${size(sample.received)} / ${size(sample.sent)}`,
    `${size(sample.read)} / ${size(sample.written)}`,
    String(sample.pids)
  ]) {
    made.append(element('td', {}, text));
  }
  return made;
}

export default { render };
