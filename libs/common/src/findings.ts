/** What a doctor finds, in one form for all programs: what was looked at, how it is, and what to do. Nothing secret is in it. */

import { scrub } from './log/logger.ts'

/** `unused` is what the settings do not ask for. */
export type FindingStatus = 'good' | 'warning' | 'problem' | 'unused'

type Fact = string | number | boolean | null
type Facts = Record<string, Fact | Record<string, Fact>[]>

export interface Finding<Check extends string = string> {
  check: Check
  status: FindingStatus
  message: string
  /** What else is worth a look, or stands against it; empty as a rule. */
  details: string[]
  facts: Facts
}

/** What `doctor --json` prints. */
export interface Report<Check extends string = string> {
  version: 1
  healthy: boolean
  network: string | null
  findings: Finding<Check>[]
}

/** A finding without details and facts, unless it has some. */
export function finding<Check extends string>(
  check: Check,
  status: FindingStatus,
  message: string,
  more: Partial<Pick<Finding, 'details' | 'facts'>> = {},
): Finding<Check> {
  return { check, status, message, details: [], facts: {}, ...more }
}

/** A number with its noun. */
export const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`

/** One endpoint of several: in order, or what is wrong with it. */
export interface EndpointLook {
  readonly host: string
  readonly words: string
  readonly problem?: string
  /** It serves, and yet. */
  readonly doubt?: string
  readonly facts?: Readonly<Record<string, Fact>>
}

/** One that is out of order is a warning while another one serves. */
export function endpointsFinding<Check extends string>(check: Check, looks: readonly EndpointLook[]): Finding<Check> {
  const bad = looks.flatMap(({ problem }) => problem ?? [])
  const facts = {
    endpoints: looks.map(({ host, facts: more, problem }) => ({ host, ok: problem === undefined, ...more })),
  }
  if (bad.length === looks.length) return finding(check, 'problem', bad.join('; '), { facts })
  const message = looks.flatMap(({ words, problem }) => (problem === undefined ? [words] : [])).join('; ')
  const details = [...bad, ...looks.flatMap(({ doubt }) => doubt ?? [])]
  return finding(check, details.length > 0 ? 'warning' : 'good', message, { details, facts })
}

/** All findings. It is healthy without a problem. */
export function reportOf<Check extends string>(
  network: string | null,
  findings: readonly Finding<Check>[],
): Report<Check> {
  const healthy = findings.every(({ status }) => status !== 'problem')
  return { version: 1, healthy, network, findings: findings.map(scrubbed) }
}

/** The last fence: messages of other people's code are in here too. Hex of 32 bytes stays: lock hashes are meant to be read. */
const scrubbed = <Check extends string>(found: Finding<Check>): Finding<Check> => ({
  ...found,
  message: scrubText(found.message),
  details: found.details.map(scrubText),
})
const LOCK_HASH = /cluster lock (0x[0-9a-f]{64})/
function scrubText(text: string): string {
  const [, hash = ''] = LOCK_HASH.exec(text) ?? []
  return hash === '' ? scrub(text) : text.split(hash).map(scrub).join(hash)
}

const MARKS: Readonly<Record<FindingStatus, string>> = {
  good: 'good',
  warning: 'WARNING',
  problem: 'PROBLEM',
  unused: '-',
}

/** The report as a person reads it. */
export function reportText({ findings }: Report): string {
  const lines = findings.flatMap(({ check, status, message, details }) => [
    `${MARKS[status].padEnd(8)} ${check.padEnd(12)} ${indent(message)}`,
    ...details.map((detail) => `${' '.repeat(22)}${indent(detail)}`),
  ])
  const problems = findings.filter(({ status }) => status === 'problem').length
  const warnings = findings.filter(({ status }) => status === 'warning').length
  const verdict = problems === 0 ? 'nothing is wrong' : `${count(problems, 'problem')} to be solved`
  return `${lines.join('\n')}\n\n${verdict}${warnings === 0 ? '' : `, ${count(warnings, 'warning')}`}`
}

/** Further lines of a message stand below its first. */
const indent = (text: string) => text.replaceAll('\n', `\n${' '.repeat(22)}`)
