/** The table of attacks. */

import { percentile } from '../bench/measure.ts'
import { formatMib, formatMs, formatRatio } from '../bench/report.ts'
import type { Outcome } from './run.ts'

/** Beside an attack nobody honest waits longer than so many times its quiet p99. */
const MOST_RATIO = 3

/** What the documents say a relayer takes at most (docs/operating/security.md, "Memory"); a sidecar takes less. */
export const MOST_BYTES = 2 ** 30

export interface AttackRow {
  id: string
  name: string
  quiet: { p50: number; p99: number }
  beside: { p50: number; p99: number }
  /** Of all honest requests together, and of who came off worst. */
  ratio: number
  worst: { who: string; quietP99: number; besideP99: number; ratio: number }
  /** Of each who asks. */
  each: Record<string, { quietP50: number; quietP99: number; besideP50: number; besideP99: number; ratio: number }>
  requests: number
  errors: string[]
  peakBytes: number
  answers: Record<string, number>
  left: string
  isMet: boolean
}

/** The numbers of an attack. */
export function rowOf({ attack, quiet, beside, errors, peakBytes, answers, left }: Outcome): AttackRow {
  const both = (samples: readonly number[]) => ({ p50: percentile(samples, 0.5), p99: percentile(samples, 0.99) })
  const each = Object.fromEntries(
    Object.keys(beside).map((who) => {
      const [before, during] = [both(quiet[who] ?? []), both(beside[who] ?? [])]
      const ratio = during.p99 / before.p99
      return [who, { quietP50: before.p50, quietP99: before.p99, besideP50: during.p50, besideP99: during.p99, ratio }]
    }),
  )
  const [before, during] = [both(Object.values(quiet).flat()), both(Object.values(beside).flat())]
  const [first] = Object.entries(each).toSorted(([, a], [, b]) => b.ratio - a.ratio)
  if (first === undefined) throw new Error('nobody honest has asked')
  const [who, { quietP99, besideP99, ratio: worstRatio }] = first
  return {
    id: attack.id,
    name: attack.name,
    quiet: before,
    beside: during,
    ratio: during.p99 / before.p99,
    worst: { who, quietP99, besideP99, ratio: worstRatio },
    each,
    requests: Object.values(beside).flat().length,
    errors,
    peakBytes,
    answers,
    left: left?.text ?? '',
    isMet: errors.length === 0 && worstRatio <= MOST_RATIO && peakBytes <= MOST_BYTES && left?.isRight !== false,
  }
}

/** The table as Markdown. */
export function attackTable(rows: readonly AttackRow[]): string {
  const cells = rows.map((row) => [
    row.name,
    `${formatMs(row.quiet.p50)} / ${formatMs(row.quiet.p99)}`,
    `${formatMs(row.beside.p50)} / ${formatMs(row.beside.p99)}`,
    formatRatio(row.ratio),
    `${row.worst.who}: ${formatMs(row.worst.quietP99)} → ${formatMs(row.worst.besideP99)}, ${formatRatio(row.worst.ratio)}`,
    `${row.errors.length} of ${row.requests}`,
    formatMib(row.peakBytes),
    row.left,
    row.isMet ? 'yes' : 'no',
  ])
  const head = [
    'attack',
    'quiet p50 / p99',
    'beside p50 / p99',
    'ratio',
    'worst p99',
    'errors',
    'peak memory',
    'left',
    'met',
  ]
  return [head, head.map(() => '---'), ...cells].map((line) => `| ${line.join(' | ')} |`).join('\n')
}
