// Four small charts over one time axis: CPU, memory with its limit, network, processes.

import uPlot from 'uplot';

import { binarySize, size } from './look';

export interface Sample {
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

/** One line of a chart: whose, what it is called beside the name, and its value at a sample. */
interface Line {
  suffix: string;
  dash?: number[];
  value: (now: Sample, before: Sample | undefined) => number | null;
}

export interface ChartKind {
  title: string;
  /** The least height of the axis: noise around zero is no mountain. */
  least: number;
  words: (value: number) => string;
  /** The steps that the axis may have; without them, round decimal ones. */
  steps?: number[];
  lines: readonly Line[];
}

const HEIGHT_PX = 150;
const AXIS_PX = 68;
const GRID = '#80808040';
const SHADES = ['#1e88e5', '#fb8c00', '#43a047', '#d81b60', '#8e24aa', '#00acc1', '#9e9d24', '#8d6e63'];

export const shade = (place: number): string => SHADES[place % SHADES.length];

/** Bytes a second between two samples. */
function rate(figure: (sample: Sample) => number): Line['value'] {
  return (now, before) =>
    before ? Math.max(0, (1000 * (figure(now) - figure(before))) / (now.time - before.time)) : null;
}

/** The charts; a limit of `machine` bytes or more is no limit but the machine. */
export function kinds(machine: number): ChartKind[] {
  return [
    {
      title: 'CPU (% of one core)',
      least: 5,
      words: value => `${Number(value.toPrecision(3))} %`,
      lines: [{ suffix: '', value: now => now.cpu }]
    },
    {
      title: 'Memory (and its limit, dashed)',
      least: 1024 * 1024,
      words: binarySize,
      steps: Array.from({ length: 40 }, (_, power) => 2 ** (power + 10)),
      lines: [
        { suffix: '', value: now => now.memory },
        { suffix: ' limit', dash: [6, 4], value: now => (now.limit && now.limit < machine ? now.limit : null) }
      ]
    },
    {
      title: 'Network (in; out dashed)',
      least: 1000,
      words: value => `${size(value)}/s`,
      lines: [
        { suffix: ' in', value: rate(now => now.received) },
        { suffix: ' out', dash: [6, 4], value: rate(now => now.sent) }
      ]
    },
    {
      title: 'Processes',
      least: 4,
      words: value => (Number.isInteger(value) ? String(value) : ''),
      lines: [{ suffix: '', value: now => now.pids }]
    }
  ];
}

/** What a canvas can't inherit: the colour of its words; and whose cursors move together. */
export interface Look {
  colour: string;
  together: string;
}

export class Chart {
  constructor(place: HTMLElement, kind: ChartKind, names: readonly string[], look: Look) {
    this._kind = kind;
    const axis = {
      stroke: look.colour,
      font: '11px system-ui, sans-serif',
      grid: { stroke: GRID, width: 1 },
      ticks: { show: false }
    };
    this._plot = new uPlot(
      {
        width: 300,
        height: HEIGHT_PX,
        cursor: { drag: { x: false, y: false }, sync: { key: look.together } },
        scales: {
          x: { time: false, range: (_, first, last) => [first ?? 0, Math.max(last ?? 0, (first ?? 0) + 10)] },
          y: { range: (_, __, top) => [0, Math.max((top ?? 0) * 1.12, kind.least)] }
        },
        axes: [
          { ...axis, size: 28, values: (_, ticks) => ticks.map(tick => `${tick} s`) },
          { ...axis, size: AXIS_PX, space: 30, incrs: kind.steps, values: (_, ticks) => ticks.map(kind.words) }
        ],
        series: [
          { label: 'time', value: (_, value: number | null) => (value === null ? '' : `${value} s`) },
          ...names.flatMap((name, at) =>
            kind.lines.map(line => ({
              label: `${name}${line.suffix}`,
              stroke: shade(at),
              width: 2,
              dash: line.dash,
              points: { show: false },
              value: (_: uPlot, value: number | null) => (value === null ? '–' : kind.words(value))
            }))
          )
        ]
      },
      [[], ...names.flatMap(() => kind.lines.map(() => []))] as uPlot.AlignedData,
      place
    );
  }

  /** Draw these samples, each list in the order of its times, from `start` (ms). */
  draw(samples: readonly (readonly Sample[])[], start: number): void {
    const second = (sample: Sample): number => Math.round((sample.time - start) / 1000);
    const times = [...new Set(samples.flat().map(second))].sort((a, b) => a - b);
    const lines = samples.flatMap(list =>
      this._kind.lines.map(line => {
        const known = new Map(list.map((now, at) => [second(now), line.value(now, list[at - 1])]));
        return times.map(time => known.get(time) ?? null);
      })
    );
    this._plot.setData([times, ...lines] as uPlot.AlignedData);
    if ((this._plot.cursor.left ?? -1) < 0 && times.length) {
      this._plot.setLegend({ idx: times.length - 1 });
    }
  }

  resize(width: number): void {
    this._plot.setSize({ width, height: HEIGHT_PX });
  }

  destroy(): void {
    this._plot.destroy();
  }

  private readonly _kind: ChartKind;
  private readonly _plot: uPlot;
}
