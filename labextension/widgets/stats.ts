// The live chart of containers: CPU, memory with its limit, network and processes.
// Samples come as messages from dockerlab/notebook/widgets/stats.py; this file only draws them.

import uPlot from 'uplot';
import UPLOT_CSS from 'uplot/dist/uPlot.min.css';

import { LOOK, binarySize, element, size } from './parts/look';
import type { Place } from './parts/model';

interface Sample {
  kind: string;
  name: string;
  time: number;
  cpu: number;
  memory: number;
  limit: number;
  received: number;
  sent: number;
  read: number;
  written: number;
  pids: number;
}

const KEPT = 600;
const SHADES = ['#1e88e5', '#fb8c00', '#43a047', '#d81b60', '#8e24aa', '#00acc1', '#c0ca33', '#6d4c41'];
const CSS = `${UPLOT_CSS}${LOOK}
.dl-stats table { border-collapse: collapse; width: 100%; }
.dl-stats th, .dl-stats td { padding: 2px 8px; text-align: right; border-bottom: 1px solid var(--dl-line); }
.dl-stats th:first-child, .dl-stats td:first-child { text-align: left; }
.dl-stats .dl-charts { display: flex; flex-wrap: wrap; gap: 8px; padding: 6px; }
.dl-stats .u-title { font-size: 13px; font-weight: 600; }
`;

function render({ model, el }: Place): () => void {
  const names = (model.get('names') as string[]) ?? [];
  const samples = new Map<string, Sample[]>();
  const root = element('div', { class: 'dockerlab-widget dl-stats' });
  root.append(element('style', {}, CSS));
  const bar = element('div', { class: 'dl-bar' });
  const stop = element('button', { type: 'button' }, 'Stop');
  const status = element('span', { class: 'dl-dim', role: 'status' }, 'measuring');
  bar.append(stop, status);
  const charts = element('div', { class: 'dl-charts', role: 'img', 'aria-label': 'CPU and memory over time' });
  const table = element('table');
  const head = element('tr');
  for (const title of ['container', 'CPU %', 'memory / limit', 'net in / out', 'block in / out', 'processes']) {
    head.append(element('th', { scope: 'col' }, title));
  }
  const thead = element('thead');
  thead.append(head);
  const rows = element('tbody');
  table.append(thead, rows);
  root.append(bar, charts, table);
  el.append(root);

  let cpu: uPlot | undefined;
  let memory: uPlot | undefined;
  let shown = '';

  const build = (): void => {
    const known = [...samples.keys()];
    if (shown === known.join('\n')) {
      return;
    }
    shown = known.join('\n');
    cpu?.destroy();
    memory?.destroy();
    const colour = getComputedStyle(root).color;
    cpu = chart(charts, 'CPU %', known, colour, value => `${value}%`);
    memory = chart(charts, 'memory', known, colour, binarySize);
  };
  const draw = (): void => {
    build();
    cpu?.setData(columns(samples, sample => sample.cpu));
    memory?.setData(columns(samples, sample => sample.memory));
    rows.replaceChildren(...[...samples.values()].map(list => row(list[list.length - 1])));
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
    if (model.get('ended')) {
      stop.disabled = true;
      status.textContent = 'ended; the figures stay';
    }
  };
  stop.addEventListener('click', () => {
    model.send({ kind: 'stop' });
    stop.disabled = true;
  });
  if (!names.length) {
    status.textContent = 'no running containers';
    stop.disabled = true;
  }
  ((model.get('first') as Sample[]) ?? []).forEach(take);
  model.on('msg:custom', heard);
  model.on('change:ended', ended);
  ended();
  return () => {
    model.off('msg:custom', heard);
    model.off('change:ended', ended);
    cancelAnimationFrame(waiting);
    cpu?.destroy();
    memory?.destroy();
  };
}

function chart(
  place: HTMLElement,
  title: string,
  names: string[],
  colour: string,
  words: (value: number) => string
): uPlot {
  const axis = { stroke: colour, grid: { stroke: `color-mix(in srgb, ${colour} 20%, transparent)` } };
  return new uPlot(
    {
      title,
      width: 420,
      height: 180,
      cursor: { drag: { x: false, y: false } },
      scales: { y: { range: (_, __, top) => [0, Math.max(top * 1.1, 1)] } },
      axes: [axis, { ...axis, size: 76, values: (_, ticks) => ticks.map(words) }],
      series: [
        {},
        ...names.map((label, place) => ({
          label,
          stroke: SHADES[place % SHADES.length],
          width: 1.5,
          spanGaps: true,
          value: (_: uPlot, value: number | null) => (value === null ? '' : words(value))
        }))
      ]
    },
    [[], ...names.map(() => [])] as uPlot.AlignedData,
    place
  );
}

/** Samples of all containers on one time axis, a second wide. */
function columns(samples: Map<string, Sample[]>, figure: (sample: Sample) => number): uPlot.AlignedData {
  const second = (sample: Sample): number => Math.round(sample.time / 1000);
  const times = [...new Set([...samples.values()].flat().map(second))].sort((a, b) => a - b);
  const lines = [...samples.values()].map(list => {
    const known = new Map(list.map(sample => [second(sample), figure(sample)]));
    return times.map(time => known.get(time) ?? null);
  });
  return [times, ...lines] as uPlot.AlignedData;
}

function row(sample: Sample): HTMLElement {
  const made = element('tr');
  for (const text of [
    sample.name,
    sample.cpu.toFixed(2),
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
