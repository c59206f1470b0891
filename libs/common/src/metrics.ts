/** Metrics: prom-client with a registry of its own per process part, every series created and zeroed at boot. */

import { Counter, Gauge, Histogram, Registry } from 'prom-client'

/**
 * What a metric is, for the program and for docs/reference/metrics.md. Labels list every value they can take; an empty list means that only
 * the running program knows them, and `replace` sets them.
 */
export interface MetricDefinition {
  type: 'counter' | 'gauge' | 'histogram'
  help: string
  labels?: Readonly<Record<string, readonly string[]>>
  buckets?: readonly number[]
}
export type MetricDefinitions = Readonly<Record<string, MetricDefinition>>
type Labels = Readonly<Record<string, string>>

/** Series of one metric whose labels are not known beforehand: more would be a burden to whoever stores them. */
const MOST_SERIES = 256

/** The metrics of one process. Names and labels are checked against the definitions when used. */
export interface Metrics<D extends MetricDefinitions> {
  /** Adds to a counter. */
  count(name: keyof D & string, labels?: Labels, by?: number): void
  /** Sets a gauge. */
  set(name: keyof D & string, value: number, labels?: Labels): void
  /**
   * Sets every series of a gauge at once, or of a counter that is kept elsewhere, at most `MOST_SERIES` of them, in their order: those that
   * are not there any more go.
   */
  replace(name: keyof D & string, series: readonly { labels: Labels; value: number }[]): void
  /** Observes a duration or size. */
  observe(name: keyof D & string, value: number, labels?: Labels): void
  /** The exposition text. */
  text(): Promise<string>
  contentType: string
}

/** Every combination of label values. */
function combinations(labels: Readonly<Record<string, readonly string[]>>): Labels[] {
  return Object.entries(labels).reduce<Labels[]>(
    (rows, [label, values]) => rows.flatMap((row) => values.map((value) => ({ ...row, [label]: value }))),
    [{}],
  )
}

/** Creates and zeroes every metric of the definitions. */
export function createMetrics<const D extends MetricDefinitions>(definitions: D): Metrics<D> {
  const registry = new Registry()
  const counters = new Map<string, Counter>()
  const gauges = new Map<string, Gauge>()
  const histograms = new Map<string, Histogram>()
  for (const [name, { type, help, labels = {}, buckets }] of Object.entries(definitions)) {
    const base = { name, help, labelNames: Object.keys(labels), registers: [registry] }
    if (type === 'counter') {
      const counter = new Counter(base)
      for (const row of combinations(labels)) counter.inc(row, 0)
      counters.set(name, counter)
    } else if (type === 'gauge') {
      const gauge = new Gauge(base)
      for (const row of combinations(labels)) gauge.set(row, 0)
      gauges.set(name, gauge)
    } else {
      const histogram = new Histogram({ ...base, ...(buckets === undefined ? {} : { buckets: [...buckets] }) })
      for (const row of combinations(labels)) histogram.zero(row)
      histograms.set(name, histogram)
    }
  }
  const of = <T>(map: Map<string, T>, name: string): T => {
    const metric = map.get(name)
    if (metric === undefined) throw new TypeError(`no such metric: ${name}`)
    return metric
  }
  return {
    count: (name, labels = {}, by = 1) => of(counters, name).inc(labels, by),
    set: (name, value, labels = {}) => of(gauges, name).set(labels, value),
    replace: (name, series) => {
      const metric = counters.get(name) ?? of(gauges, name)
      metric.reset()
      for (const { labels, value } of series.slice(0, MOST_SERIES)) metric.inc(labels, value)
    },
    observe: (name, value, labels = {}) => of(histograms, name).observe(labels, value),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}

/** The definitions as a Markdown table, for docs/reference/metrics.md. */
export function metricsTable(definitions: MetricDefinitions): string {
  const rows = Object.entries(definitions).map(([name, { type, help, labels }]) => {
    const names =
      labels === undefined
        ? ''
        : Object.keys(labels)
            .map((label) => `\`${label}\``)
            .join(', ')
    return `| \`${name}\` | ${type} | ${names} | ${help} |`
  })
  return ['| metric | type | labels | meaning |', '|---|---|---|---|', ...rows].join('\n')
}
