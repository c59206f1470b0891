/** The table of attacks. */

import { median, percentile } from '../bench/measure.ts'
import { formatMib, formatMs, formatRatio } from '../bench/report.ts'
import type { Outcome } from './run.ts'

/** Beside an attack nobody honest waits longer than so many times its quiet p99. */
const MOST_RATIO = 3

/** What README and docs/operating/security.md, "Memory", say a relayer takes at most; a sidecar takes less. */
export const MOST_BYTES = 2 ** 30

/** How long one kind of request took: milliseconds, before the attack and beside it. */
export interface Kind {
  who: string
  requests: number
  quietP50: number
  quietP99: number
  besideP50: number
  besideP99: number
  ratio: number
}

export interface AttackRow {
  id: string
  name: string
  /** Each kind of request by itself, who came off worst first: together the many would hide the few. */
  kinds: readonly [Kind, ...Kind[]]
  errors: string[]
  peakBytes: number
  answers: Record<string, number>
  left: string
  isMet: boolean
}

/** What anybody may be answered who takes too much. */
const HELD_UP = ['408', '429', '503', 'cut off']

/** What the attacker was answered that says that it did not get to what it is about. */
export const strayAnswers = ({ attack, answers }: Pick<Outcome, 'attack' | 'answers'>): string[] =>
  Object.keys(answers).filter((answer) => !attack.reaches.includes(answer) && !HELD_UP.includes(answer))

/** The numbers of an attack. */
export function rowOf(outcome: Outcome): AttackRow {
  const { attack, quiet, beside, errors, peakBytes, answers, left } = outcome
  const [worst, ...others] = Object.entries(beside)
    .map(([who, during]): Kind => {
      const before = quiet[who] ?? []
      const [quietP99, besideP99] = [percentile(before, 0.99), percentile(during, 0.99)]
      const [quietP50, besideP50] = [median(before), median(during)]
      return { who, requests: during.length, quietP50, quietP99, besideP50, besideP99, ratio: besideP99 / quietP99 }
    })
    .toSorted((a, b) => b.ratio - a.ratio)
  if (worst === undefined) throw new Error('nobody honest has asked')
  const hasReached =
    attack.reaches.some((answer) => answers[answer] !== undefined) && strayAnswers(outcome).length === 0
  const isFelt = errors.length > 0 || !(worst.ratio <= MOST_RATIO) || !(peakBytes <= MOST_BYTES)
  return {
    id: attack.id,
    name: attack.name,
    kinds: [worst, ...others],
    errors,
    peakBytes,
    answers,
    left: left?.text ?? '',
    isMet: hasReached && !isFelt && left?.isRight !== false,
  }
}

/** What `npm run attack` ends with: 1 where a row is not met, so that a script notices. */
export const exitCodeOf = (rows: readonly AttackRow[]): number => (rows.every(({ isMet }) => isMet) ? 0 : 1)

/** One kind of request in words. */
export const kindText = ({ who, requests, quietP50, quietP99, besideP50, besideP99, ratio }: Kind): string =>
  `${who}: p50 ${formatMs(quietP50)} → ${formatMs(besideP50)}, p99 ${formatMs(quietP99)} → ${formatMs(besideP99)}, ${formatRatio(ratio)} ×, of ${requests}`

/** The table as Markdown. */
export function attackTable(rows: readonly AttackRow[]): string {
  const cells = rows.map((row) => [
    row.name,
    row.kinds.map(({ who }) => who).join('<br>'),
    row.kinds.map(({ quietP50, quietP99 }) => `${formatMs(quietP50)} / ${formatMs(quietP99)}`).join('<br>'),
    row.kinds.map(({ besideP50, besideP99 }) => `${formatMs(besideP50)} / ${formatMs(besideP99)}`).join('<br>'),
    row.kinds.map(({ ratio }) => formatRatio(ratio)).join('<br>'),
    `${row.errors.length} of ${row.kinds.reduce((sum, { requests }) => sum + requests, 0)}`,
    formatMib(row.peakBytes),
    row.left,
    row.isMet ? 'yes' : 'no',
  ])
  const head = [
    'attack',
    'honest request',
    'quiet p50 / p99',
    'beside p50 / p99',
    'p99 ratio',
    'errors',
    'peak memory',
    'left',
    'met',
  ]
  return [head, head.map(() => '---'), ...cells].map((line) => `| ${line.join(' | ')} |`).join('\n')
}
