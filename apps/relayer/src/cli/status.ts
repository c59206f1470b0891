/** `npm run relayer -- status`: what the status page shows, from the database of a relayer, which is only read. */

import { parseArgs } from 'node:util'
import type { Problem, Status, StatusNode } from '@dvt-relayer/api/schemas.ts'
import { count } from '@dvt-relayer/common/findings.ts'
import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import { Lifetime } from '@dvt-relayer/common/process/lifetime.ts'
import { RUNBOOK } from '@dvt-relayer/common/runbook.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { readConfig } from '../config.ts'
import { CAME_BY } from '../http/status/words.ts'
import { isLate, utc } from '../services/status/problems.ts'
import { statusToAdmin } from '../services/status/status.ts'
import { COMMANDS } from './usage.ts'
import { openExisting } from './with-database.ts'

const INSTEAD = 'That relayer says it as well: GET /status.json, or /status in a browser'

/** Runs the command. Returns an exit code: 1 where somebody has to act. */
export async function statusCommand(args: readonly string[], environment: Environment): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: COMMANDS.status.options })
  const { config } = readConfig(environment)
  // Standard output is the status's.
  const logger = createLogger({ ...config.log, destination: process.stderr })
  await using lifetime = new Lifetime(logger)
  const db = await openExisting(config, logger, lifetime, 'read', INSTEAD)
  const status = await statusToAdmin({ config, db }, {})
  console.log(values.json ? JSON.stringify(status, undefined, 2) : statusText(status))
  return status.headline.level === 'bad' ? 1 : 0
}

const SIGNS: Readonly<Record<Problem['level'], string>> = { bad: '✕', waiting: '…', good: '✓' }
const at = (seconds: number | null): string => (seconds === null ? 'never' : utc(seconds))

const placeOf = ({ anchor }: Problem): string => (anchor === null ? '' : `   ${RUNBOOK}#${anchor}`)

/** The status as a person reads it. */
function statusText(status: Status): string {
  const {
    headline,
    problems,
    clusters,
    validators,
    vaults,
    oracle_set: set,
    registry,
    manager,
    processes,
    unused,
  } = status
  return [
    // The worst problem stands below once more, with its place in the runbook.
    `${SIGNS[headline.level]} ${safe(headline.sentence)}${problems.length > 0 ? '' : placeOf(headline)}`,
    ...problems.map((problem) => `  ${SIGNS[problem.level]} ${safe(problem.sentence)}${placeOf(problem)}`),
    '',
    ...clusters.flatMap(({ name, threshold, collecting, nodes }) => [
      `cluster ${safe(JSON.stringify(name))}, threshold ${threshold}${collecting === null || collecting === 0 ? '' : `, ${collecting} not ready`}`,
      ...nodes.map(nodeLine),
    ]),
    '',
    ...validators.items.map(({ public_key: key, verdict }) => `${key} ${verdict.code}: ${verdict.sentence}`),
    ...(validators.next === null ? [] : ['and more: GET /status.json?after= goes on']),
    ...(validators.items.length === 0 ? [] : ['what to do about one: npm run relayer -- explain 0x…', '']),
    `oracle set ${set === null ? 'none is known yet' : `${set.cid}, ${set.threshold} of ${set.oracles}`}`,
    `deposit registry ${registry === null ? 'not begun: no POST /register has asked for the deposits on chain' : `settled up to block ${registry.next_block - 1}, ${registry.public_keys} keys`}`,
    ...Object.entries(unused).flatMap(([name, { state, why }]) =>
      state === 'not configured' ? [`${name.replaceAll('_', ' ')} ${state}: ${why}`] : [],
    ),
    ...vaults.map(
      (vault) =>
        `vault ${vault.vault}: ${vault.registered} registered, ${vault.outdated} with shares of earlier oracles${vault.force_exit_at_timestamp === null ? '' : `, may be exited by force from ${at(vault.force_exit_at_timestamp)}`}${vault.keys_free === null ? '' : `, ${count(vault.keys_free, 'free key')}`}`,
    ),
    ...(manager?.vaults ?? []).map(
      ({ vault, moved_gwei: moved, left_gwei: left }) =>
        `manager, last 24 hours: ${moved} Gwei of vault ${vault} moved${left === null ? '' : `, ${left} left`}`,
    ),
    ...processes
      .filter(({ there }) => there)
      .map((process) => {
        const { role, version, started_at_timestamp: started, heard_at_timestamp: heard } = process
        const late = isLate(process, status.time) ? `, silent: last heard ${at(heard)}` : ''
        return `process ${role} ${version}, since ${at(started)}${late}`
      }),
  ].join('\n')
}

const STATES: Readonly<Record<StatusNode['state'], string>> = {
  there: 'there',
  away: 'away',
  never: 'never seen',
  unknown: 'cannot be told from others',
}

/** A terminal obeys control characters: a name is given none. */
const safe = (text: string): string => text.replaceAll(/[\p{Cc}\p{Cf}]/gu, '?')

function nodeLine(node: StatusNode): string {
  const {
    share_index: index,
    state,
    reason,
    waiting,
    oldest_at_timestamp: oldest,
    refusal_code: code,
    came_by: cameBy,
    software,
    version,
  } = node
  const words = [
    reason ?? STATES[state],
    state === 'there' && node.online_since_timestamp !== null
      ? `since ${at(node.online_since_timestamp)}`
      : `last seen ${at(node.seen_at_timestamp)}`,
    ...(waiting === null || waiting === 0 ? [] : [`owes ${waiting} since ${at(oldest)}`]),
    ...(code === null ? [] : [`refused with ${code} at ${at(node.refused_at_timestamp)}`]),
    ...(cameBy === null ? [] : [`came by ${CAME_BY[cameBy]}`]),
    ...(software === null ? [] : [`${software} ${version ?? ''}`]),
  ]
  return `  node ${index}: ${words.join(', ')}`
}
