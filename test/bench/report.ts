/** A row of the table, and the table: for people as Markdown, for programs as JSON. */

/** One measured number beside its target and its baseline. */
export interface BenchRow {
  /** What `--only` takes. */
  id: string
  /** What is measured. */
  name: string
  measured: string
  target: string
  /** Undefined where the target cannot be told from the numbers. */
  isMet: boolean | undefined
  /** What stands at its side in the same run. */
  baseline: string
  /** Measured through baseline. */
  ratio: number | undefined
  /** What the number hangs on. */
  limit: string
  /** The numbers behind the texts; units in the names. */
  values: Readonly<Record<string, number>>
}

/** What an earlier run measured, on a machine that should be the same one: `baseline.json`. */
export interface Baseline {
  at: string
  machine: { cpu: string; cores: number; node: string }
  /** By id. */
  rows: Readonly<Record<string, Pick<BenchRow, 'measured' | 'values'>>>
}

/** A time with as many digits as it deserves. */
export function formatMs(ms: number): string {
  if (ms >= 10_000) return `${(ms / 1000).toFixed(1)} s`
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`
  return ms >= 20 ? `${ms.toFixed(0)} ms` : `${ms.toFixed(1)} ms`
}

/** Bytes as mebibytes. */
export const formatMib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`

/** A ratio with two digits that count. */
export const formatRatio = (ratio: number): string => (ratio >= 10 ? ratio.toFixed(0) : ratio.toFixed(2))

/** The table as Markdown, with what was measured before. */
export function markdownTable(rows: readonly BenchRow[], before: Baseline['rows']): string {
  const cells = rows.map((row) => [
    row.name,
    before[row.id]?.measured ?? '–',
    row.measured,
    row.target,
    row.isMet === undefined ? '' : row.isMet ? 'yes' : 'no',
    row.baseline,
    row.ratio === undefined ? '–' : formatRatio(row.ratio),
    row.limit,
  ])
  const head = ['what', 'before', 'now', 'target', 'met', 'baseline', 'ratio', 'limited by']
  return [head, head.map(() => '---'), ...cells].map((line) => `| ${line.join(' | ')} |`).join('\n')
}
